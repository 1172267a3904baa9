package github_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/hint"
)

func TestCommitAndPush(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	ctx := t.Context()

	// Nothing to commit, nothing to push.
	if _, err := github.Commit(ctx, s, "", "x", "agent/", rescueNow); !errors.Is(err, github.ErrNothing) || hint.Of(err) == "" {
		t.Errorf("nothing to commit: %v", err)
	}
	if _, err := github.Push(ctx, s, "app"); !errors.Is(err, github.ErrDefaultBranch) {
		t.Errorf("push of the default branch: %v", err)
	}
	if _, err := github.Commit(ctx, s, "app", " \n", "agent/", rescueNow); err == nil {
		t.Error("an empty message was taken")
	}

	// What a commit would take.
	s.sh(`cd workspace/app && echo two >>file && rm second && printf 'a\033[31mred\n' >'new
name' && git config diff.external /bin/false && printf 'x\0y' >binary`)
	before := s.sh(`cd workspace/app && git status --porcelain && cksum .git/index`)
	d, err := github.Changes(ctx, s, "app")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"A binary", "M file", "A new?name", "D second"}; !cmp.Equal(want, d.Files) || d.Count != 4 || d.Truncated {
		t.Errorf("diff %+v", d)
	}
	for _, want := range []string{"+++ b/file\n", "\n+two\n", "\n-two\n", "+a?[31mred\n", "Binary files"} {
		if !strings.Contains(d.Text, want) {
			t.Errorf("%q is not in the diff:\n%s", want, d.Text)
		}
	}
	if after := s.sh(`cd workspace/app && git status --porcelain && cksum .git/index`); before != after {
		t.Errorf("the diff changed the repository:\n%s\n%s", before, after)
	}

	// Committed on a branch of its own; the repository's hook runs and has its say.
	s.sh(`cd workspace/app && printf '#!/bin/sh\necho never on a Friday >&2\nexit 1\n' >.git/hooks/pre-commit && chmod +x .git/hooks/pre-commit`)
	if _, err := github.Commit(ctx, s, "app", "Fix: the Thing!", "agent/", rescueNow); err == nil ||
		!strings.Contains(err.Error(), "never on a Friday") {
		t.Errorf("refused by a hook: %v", err)
	}
	s.sh(`cd workspace/app && rm .git/hooks/pre-commit && git checkout -q main && git branch -q -D agent/fix-the-thing`)
	c, err := github.Commit(ctx, s, "", "Fix: the Thing!\n\nIn detail.", "agent/", rescueNow)
	if err != nil {
		t.Fatal(err, hint.Of(err))
	}
	if c.Branch != "agent/fix-the-thing" || !c.NewBranch || c.Files != 4 {
		t.Errorf("committed %+v", c)
	}
	if got := s.sh(`cd workspace/app && git log -1 --format=%B && git log -1 --format=%an main..`); got != "Fix: the Thing!\n\nIn detail.\n\nKeeper" {
		t.Errorf("the commit says %q", got)
	}
	// A second one goes to the same branch; the same message from main makes another.
	s.sh(`cd workspace/app && echo three >>file`)
	if c, err = github.Commit(ctx, s, "app", "-- $(more) 'it'", "agent/", rescueNow); err != nil || c.NewBranch {
		t.Errorf("committed %+v: %v", c, err)
	}
	p, err := github.Push(ctx, s, "app")
	if err != nil {
		t.Fatal(err, hint.Of(err))
	}
	if p.Branch != "agent/fix-the-thing" || p.Remote != "origin" || p.Commit != c.Commit {
		t.Errorf("pushed %+v", p)
	}
	if got := s.sh(`cd workspace/app && git rev-parse --abbrev-ref @{u}`); got != "origin/agent/fix-the-thing" {
		t.Errorf("it follows %q", got)
	}
	list, err := github.Repositories(ctx, s)
	if err != nil || len(list) != 1 || list[0].Default != "main" || list[0].Ahead != 0 || list[0].OnDefault {
		t.Errorf("repositories %+v: %v", list, err)
	}
	s.sh(`cd workspace/app && git checkout -q main && echo again >>file`)
	if c, err = github.Commit(ctx, s, "app", "Fix: the thing", "agent/", rescueNow); err != nil || c.Branch != "agent/fix-the-thing-2" {
		t.Errorf("committed %+v: %v", c, err)
	}
	// Nothing is forced: what somebody else has pushed stays.
	s.sh(`cd workspace/app && git checkout -q agent/fix-the-thing && git commit -q --amend -m other`)
	if _, err := github.Push(ctx, s, "app"); err == nil || hint.Of(err) == "" {
		t.Errorf("a push that would overwrite: %v", err)
	}
	// The default branch is what the remote says it is.
	s.sh(`cd workspace/app && git push -q origin HEAD:refs/heads/stable && git checkout -q -b stable && git commit -q --allow-empty -m x &&
git -C "$TMPDIR/srv/app.git" symbolic-ref HEAD refs/heads/stable`)
	if _, err := github.Push(ctx, s, "app"); !errors.Is(err, github.ErrDefaultBranch) {
		t.Errorf("push of the remote's default branch: %v", err)
	}
	s.sh(`cd workspace/app && git checkout -q --detach`)
	if _, err := github.Push(ctx, s, "app"); err == nil {
		t.Error("no branch was pushed")
	}
}

func TestWhichRepository(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	ctx := t.Context()
	if _, err := github.One(ctx, s, ""); !errors.Is(err, github.ErrNoRepository) {
		t.Errorf("none: %v", err)
	}
	s.sh(`cd workspace && git init -q "./-odd 'name'
" && cd "./-odd 'name'
" && echo x >x`)
	one, err := github.One(ctx, s, "")
	if err != nil || one.Name != "-odd 'name'\n" || one.Untracked != 1 {
		t.Errorf("one: %+v, %v", one, err)
	}
	c, err := github.Commit(ctx, s, one.Name, "日本語", "agent/", rescueNow)
	if err != nil || c.Branch != "agent/20260117-143000" {
		t.Errorf("committed %+v: %v", c, err)
	}
	if _, err := github.Push(ctx, s, one.Name); !errors.Is(err, github.ErrNoRemote) {
		t.Errorf("push without a remote: %v", err)
	}
	s.sh(`git init -q workspace/other`)
	if _, err := github.One(ctx, s, ""); !errors.Is(err, github.ErrWhichRepo) || !strings.Contains(hint.Of(err), "--repo other") {
		t.Errorf("several: %v, %s", err, hint.Of(err))
	}
	for _, bad := range []string{"..", ".", "a/b", "nothing", "/etc"} {
		if _, err := github.One(ctx, s, bad); !errors.Is(err, github.ErrNoRepository) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	ctx := t.Context()
	s.sh(`git config --global url."$TMPDIR/srv/app.git".insteadOf https://github.com/acme/app.git`)
	c, err := github.Clone(ctx, s, "acme/app", github.CloneOptions{Prefix: "agent/"}, rescueNow)
	want := github.Cloned{Repo: "acme-app", URL: "https://github.com/acme/app.git", Branch: "agent/20260117-143000"}
	if err != nil || c != want {
		t.Errorf("cloned %+v: %v", c, err)
	}
	if got := s.sh(`cd workspace/acme-app && git symbolic-ref --short HEAD && cat file`); got != "agent/20260117-143000\none" {
		t.Errorf("in it is %q", got)
	}
	if _, err = github.Clone(ctx, s, "acme/app", github.CloneOptions{Prefix: "agent/"}, rescueNow); err == nil {
		t.Error("a third clone of one name")
	}
	if _, err = github.Clone(ctx, s, "https://git.example/none.git", github.CloneOptions{Prefix: "a/"}, rescueNow); err == nil ||
		hint.Of(err) == "" {
		t.Errorf("a repository that is not there: %v", err)
	}
	if got := s.sh(`ls -A workspace`); got != "acme-app\napp" {
		t.Errorf("in ~/workspace is %q", got)
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]github.Source{
		"acme/app":                          {URL: "https://github.com/acme/app.git", Owner: "acme", Repo: "app"},
		"acme/app.git":                      {URL: "https://github.com/acme/app.git", Owner: "acme", Repo: "app"},
		"https://github.com/acme/app":       {URL: "https://github.com/acme/app", Owner: "acme", Repo: "app"},
		"https://git.example/g/sub/app.git": {URL: "https://git.example/g/sub/app.git", Owner: "sub", Repo: "app"},
		"git@github.com:acme/app.git":       {URL: "git@github.com:acme/app.git", Owner: "acme", Repo: "app"},
		"ssh://git@github.com/acme/app.git": {URL: "ssh://git@github.com/acme/app.git", Owner: "acme", Repo: "app"},
	} {
		if got, err := github.ParseSource(from); err != nil || got != want {
			t.Errorf("%q: %+v, %v", from, got, err)
		}
	}
	for _, bad := range []string{
		"", "app", "/etc", "../x", "file:///etc", "ext::sh -c date", "-u/x", "--upload-pack=x", "a/b/c", "acme/..", "http://x/y/z",
		"https://github.com/acme/app?x", "https://token@github.com/acme/app", "https://u:p@github.com/acme/app",
		"https://github.com", "https://github.com/a/-x", "https://github.com/a/.git", "a b@c:d",
	} {
		if got, err := github.ParseSource(bad); err == nil || hint.Of(err) == "" {
			t.Errorf("%q: %+v, %v", bad, got, err)
		} else if strings.Contains(err.Error(), "token@") || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: the error tells the token: %v", bad, err)
		}
	}
}

// fakeGH stands for gh, which has nobody to talk to here: it records how it was called, and answers by the script's cases.
const fakeGH = `#!/bin/sh
{ printf '%s|' "$@"; echo; env; } >>"$HOME/gh.log"
case "$1 $2" in
"auth login") cat >"$HOME/gh.token"; [ ! -e "$HOME/gh.refuses" ] || { echo "error validating token: $(cat "$HOME/gh.token")" >&2; exit 1; } ;;
"auth status") [ -s "$HOME/gh.token" ] || { echo 'You are not logged into any GitHub hosts. Run gh auth login to authenticate.' >&2; exit 1; }
  [ ! -e "$HOME/gh.offline" ] || { echo 'github.com: timeout' >&2; exit 1; } ;;
"auth token") cat "$HOME/gh.token" ;;
"auth logout") : >"$HOME/gh.token" ;;
"api user") printf 'octo\033cat\n' ;;
"pr create") cat >"$HOME/gh.body"; if [ -e "$HOME/gh.there" ]; then
  echo 'a pull request for branch "agent/x" into branch "main" already exists:' >&2
  echo https://github.com/acme/app/pull/7 >&2; exit 1; fi
  echo; echo https://github.com/acme/app/pull/8 ;;
esac
`

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	ctx := t.Context()
	s.program("gh", "#!/bin/sh\nexit 127\n")
	if _, err := github.SignedIn(ctx, s); !errors.Is(err, github.ErrNoGH) {
		t.Errorf("without gh: %v", err)
	}
	s.program("gh", fakeGH)
	if a, err := github.SignedIn(ctx, s); err != nil || a.SignedIn || a.Unknown != "" {
		t.Errorf("before: %+v, %v", a, err)
	}
	secret := strings.Repeat("S3cret", 5)
	for token, broad := range map[string]bool{
		"ghp_" + secret: true, "gho_" + secret: true, secret: true,
		"": false, "two words of some length": false, strings.Repeat("x", 5000): false, "github_pat_;rm -rf ~;xxxxxxxxx": false,
	} {
		_, err := github.SignIn(ctx, s, strings.NewReader(token), false)
		if err == nil || errors.Is(err, github.ErrBroadToken) != broad || hint.Of(err) == "" {
			t.Errorf("token %.12q: %v", token, err)
		} else if strings.Contains(err.Error()+hint.Of(err), secret) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
	if got := s.sh(`grep -c '^auth|login' gh.log || true`); got != "0" {
		t.Errorf("gh was given %s refused tokens", got)
	}
	a, err := github.SignIn(ctx, s, strings.NewReader("github_pat_"+secret+"\r\n"), false)
	if want := (github.Account{SignedIn: true, User: "octo?cat", Kind: "fine-grained"}); err != nil || a != want {
		t.Errorf("signed in: %+v, %v", a, err)
	}
	if got := s.sh(`cat gh.token`); got != "github_pat_"+secret {
		t.Errorf("gh was given %q", got)
	}
	log, err := os.ReadFile(filepath.Join(s.home, "gh.log"))
	if err != nil || strings.Contains(string(log), secret) {
		t.Errorf("the token is in an argument or the environment (%v)", err)
	}
	if !strings.Contains(string(log), "auth|login|--hostname|github.com|--git-protocol|https|--with-token|\n") ||
		!strings.Contains(string(log), "auth|setup-git|") {
		t.Errorf("gh was called with:\n%s", log)
	}
	s.sh(`touch gh.offline`)
	if a, err := github.SignedIn(ctx, s); err != nil || a.SignedIn || a.Unknown != "github.com: timeout" {
		t.Errorf("unknown is not yes: %+v, %v", a, err)
	}
	s.sh(`rm gh.offline`)
	if a, err := github.SignIn(ctx, s, strings.NewReader("ghp_"+secret), true); err != nil || a.Kind != "classic" {
		t.Errorf("forced: %+v, %v", a, err)
	}
	if err := github.SignOut(ctx, s); err != nil {
		t.Error(err)
	}
	if a, err := github.SignedIn(ctx, s); err != nil || a.SignedIn {
		t.Errorf("after: %+v, %v", a, err)
	}
	s.sh(`touch gh.refuses`)
	if _, err := github.SignIn(ctx, s, strings.NewReader("github_pat_"+secret), false); err == nil ||
		strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "validating") {
		t.Errorf("refused by GitHub: %v", err)
	}
}

func TestPullRequest(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	s.program("gh", fakeGH)
	ctx := t.Context()
	s.sh(`cd workspace/app && git checkout -q -b agent/x && git commit -q --allow-empty -m 'The subject' && echo x >new`)
	if _, err := github.PullRequest(ctx, s, "app", github.PullOptions{}); err == nil ||
		!strings.Contains(err.Error(), "1 uncommitted file would not be in it") {
		t.Errorf("with uncommitted work: %v", err)
	}
	s.sh(`rm workspace/app/new`)
	p, err := github.PullRequest(ctx, s, "app", github.PullOptions{})
	if want := (github.Pull{Repo: "app", Branch: "agent/x", URL: "https://github.com/acme/app/pull/8"}); err != nil || p != want {
		t.Errorf("opened %+v: %v", p, err)
	}
	if got := s.sh(`git -C "$TMPDIR/srv/app.git" log -1 --format=%s agent/x`); got != "The subject" {
		t.Errorf("pushed %q", got)
	}
	if _, err = github.PullRequest(ctx, s, "app", github.PullOptions{Body: "-- why\n", Base: "-x", Draft: true}); err != nil {
		t.Error(err)
	}
	if got := s.sh(`cat gh.body; grep '^pr' gh.log`); got != `-- why
pr|create|--head|agent/x|--fill|
pr|create|--head|agent/x|--title=The subject|--body-file|-|--base=-x|--draft|` {
		t.Errorf("gh was called with:\n%s", got)
	}
	s.sh(`touch gh.there`)
	if p, err = github.PullRequest(ctx, s, "app", github.PullOptions{}); err != nil || p.URL != "https://github.com/acme/app/pull/7" {
		t.Errorf("one that is there already: %+v, %v", p, err)
	}
	s.sh(`cd workspace/app && git checkout -q main`)
	if _, err = github.PullRequest(ctx, s, "app", github.PullOptions{}); !errors.Is(err, github.ErrDefaultBranch) {
		t.Errorf("from the default branch: %v", err)
	}
}
