package github

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// hostShell runs commands here, with another home.
type hostShell struct{ home string }

func (h hostShell) run(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = h.home
	cmd.Env = append(os.Environ(), "HOME="+h.home, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return string(out)
}

func TestHeads(t *testing.T) {
	home := t.TempDir()
	h := hostShell{home}
	commits := h.run(t, `mkdir -p workspace/"not one" && cd workspace
git config --file ../id user.name A; git config --file ../id user.email a@b
export GIT_CONFIG_GLOBAL=$HOME/id
git init -q -b main empty
git init -q -b agent/fix "a b"; git -C "a b" commit -q --allow-empty -m 1; git -C "a b" rev-parse HEAD
git init -q -b main packed; git -C packed commit -q --allow-empty -m 1; git -C packed pack-refs --all; git -C packed rev-parse HEAD
touch -d 2040-01-01 packed/.git/index
git init -q -b main detached; git -C detached commit -q --allow-empty -m 1; git -C detached checkout -q --detach
mkdir -p hostile/.git; printf 'ref: ../../../../../../etc/passwd\n' >hostile/.git/HEAD
mkdir -p fifo/.git; mkfifo fifo/.git/HEAD`)
	first, rest := commits[:40], commits[41:81]
	r := h.run(t, headsScript)
	got := parseHeads(r)
	detached := got[slices.IndexFunc(got, func(h Head) bool { return h.Path == "workspace/detached" })]
	if detached.Branch != "" || len(detached.Commit) != 40 {
		t.Errorf("detached: %+v", detached)
	}
	want := []Head{
		{"workspace/a b", "agent/fix", first, false, ""},
		detached,
		{"workspace/empty", "main", "", false, ""},
		{"workspace/packed", "main", rest, true, ""},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestStates tells which repositories have files that are not as committed, and runs nothing they name.
func TestStates(t *testing.T) {
	h := hostShell{t.TempDir()}
	h.run(t, `mkdir workspace && cd workspace
git config --file ../id user.name A; git config --file ../id user.email a@b
export GIT_CONFIG_GLOBAL=$HOME/id
for r in clean untracked changed broken; do git init -q -b main $r; (cd $r && echo x >f && git add f && git commit -q -m 1); done
echo y >untracked/g; echo y >>changed/f; rm -r broken/.git/objects broken/.git/refs
git init -q -b main "./-new line
x"
git -C changed config core.fsmonitor "touch $HOME/ran"; git -C changed config core.hooksPath "$HOME"`)
	got := map[string]string{}
	for _, r := range parseHeads(h.run(t, headsScript+statesScript)) {
		got[r.Path] = r.State
	}
	want := map[string]string{
		"workspace/clean": "clean", "workspace/untracked": "dirty", "workspace/changed": "dirty", "workspace/broken": "",
		clean("workspace/-new line\nx", 200): "clean",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if _, err := os.Lstat(h.home + "/ran"); err == nil {
		t.Error("a program a repository names was run")
	}
}

func TestHeadsOfAHostileGuest(t *testing.T) {
	for name, c := range map[string]struct {
		out  string
		want []Head
	}{
		"nothing":         {"", nil},
		"a state of none": {"!workspace/x\x00dirty\x00\x00", nil},
		"no state at all": {"x\x00\x00\x00!x\x00\x1b[2J\x00\x00", []Head{{Path: "x"}}},
		"half a word":     {"workspace/x\x00ref: refs/heads/main\x00", nil},
		"escapes":         {"w\x1b[2J\x00ref: refs/heads/\x1b]0;x\x07\x00$(rm)\x00", []Head{{Path: clean("w\x1b[2J", 200), Branch: clean("\x1b]0;x\x07", 200)}}},
	} {
		if got := parseHeads(c.out); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
