package sessiontest

import (
	"strings"
	"testing"
)

// repository makes ~/workspace/app with a remote outside of what is looked through, one commit, and one change.
const repository = `rm -rf workspace/app .cache/srv
git config --global user.name Keeper
git config --global user.email keeper@example.test
git config --global init.defaultBranch main
mkdir -p .cache/srv/acme workspace
git init -q --bare .cache/srv/acme/app.git
git config --global --replace-all url."$HOME/.cache/srv/".insteadOf https://git.example/
git clone -q https://git.example/acme/app.git workspace/app 2>/dev/null
cd workspace/app
echo one >file
git add .
git commit -q -m first
git push -q origin main
echo two >>file
`

// gh is what a pull request needs of GitHub's program.
const gh = `sudo tee /usr/local/bin/gh >/dev/null <<'END'
#!/bin/sh
printf '%s\n' "$*" >>"$HOME/.cache/gh.log"
case "$1 $2" in
"auth status") ;;
"pr create") cat >/dev/null; echo https://github.com/acme/app/pull/8 ;;
esac
END
sudo chmod 755 /usr/local/bin/gh
`

// TestCommitAndPullRequest: C shows the change and commits it, P proposes it.
func TestCommitAndPullRequest(t *testing.T) {
	w := theWorld(t)
	w.guest(t, repository+gh)
	v := w.shell(t)
	v.hotkey("c")
	v.sees(`Commit in app \(main\)`)
	v.sees(`^ ?\+two$`)
	v.keys("Enter")
	v.sees(`Message:`)
	v.line("Do the work")
	v.sees(`✓ Committed 1 file to agent/do-the-work of app`)
	v.back(`✓`)
	if got := w.guest(t, "git -C workspace/app log -1 --format=%s agent/do-the-work"); got != "Do the work" {
		t.Errorf("the last commit is %q", got)
	}
	v.hotkey("c")
	v.sees(`Nothing to commit: no file is changed`)
	v.back(`Nothing to commit`)
	v.hotkey("p")
	v.sees(`Title of the pull request:`)
	v.line("The work")
	v.sees(`✓ https://github.com/acme/app/pull/8`)
	v.back(`✓`)
	if got := w.guest(t, "git -C .cache/srv/acme/app.git log -1 --format=%s agent/do-the-work"); got != "Do the work" {
		t.Errorf("on the remote is %q", got)
	}
	if got := w.guest(t, "cat .cache/gh.log"); !strings.Contains(got, "pr create") || !strings.Contains(got, "The work") {
		t.Errorf("gh was told %q", got)
	}
}

// TestExit: what follows an agent's end is asked, unless that is not wanted.
func TestExit(t *testing.T) {
	w := theWorld(t)
	w.guest(t, repository+"git switch -q -c agent/more; git commit -q -a -m more; echo three >>file")
	id := w.agent(t, "/bin/sh", "-c", "read x; exit 7")
	v := w.open(t, nil, "session", "demo", "--agent", id)
	v.sees(`\[Enter\] Launch`)
	v.keys("Enter")
	v.safe()
	v.keys("Enter")
	v.sees(`has ended\.`)
	v.sees(`This work exists in the VM alone and is at risk:`)
	v.sees(`app: 1 uncommitted file`)
	v.sees(`\[L\]eave  \[C\]ommit`)
	v.keys("l")
	v.sees(`\[L\]eave  \[P\]ush`)
	v.keys("p")
	v.sees(`✓ Pushed agent/more of app to origin`)
	v.sees(`\[K\]eep \(Enter\)  \[R\]oll back  \[S\]napshot`)
	v.keys("k")
	if code := v.ends(); code != 7 {
		t.Errorf("exit code %d", code)
	}
	if got := w.guest(t, "git -C .cache/srv/acme/app.git log -1 --format=%s agent/more"); got != "more" {
		t.Errorf("on the remote is %q", got)
	}

	// Left alone by the configuration.
	v = w.open(t, []string{"CAL_SESSION_ON_EXIT=keep"}, "session", "demo", "--agent", id)
	v.sees(`\[Enter\] Launch`)
	v.keys("Enter")
	v.safe()
	v.keys("Enter")
	if code := v.ends(); code != 7 {
		t.Errorf("with on_exit: keep the exit code is %d", code)
	}
	if got := strings.Join(v.screen(), "\n"); strings.Contains(got, "has ended") {
		t.Errorf("with on_exit: keep it says:\n%s", got)
	}
	w.guest(t, "rm -rf workspace/app")
}
