package hook

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/config"
)

var artifact = Artifact{
	Path: "/out/demo/$(touch pwned); -rf {sha256}.ipa", Name: "$(touch pwned); -rf {sha256}.ipa", Workspace: "demo",
	Agent: "claude-code", SHA256: "abc", Size: 7, Kind: "file", Repository: "workspace/x", Commit: "c0ffee",
}

func TestExpand(t *testing.T) {
	h := config.Hook{Argv: []string{"/bin/x", "--name={name}", "{path}", "{sha256}:{size}:{kind}", "{workspace}/{agent}", "plain"}}
	want := []string{
		"/bin/x", "--name=$(touch pwned); -rf {sha256}.ipa", "/out/demo/$(touch pwned); -rf {sha256}.ipa", "abc:7:file",
		"demo/claude-code", "plain",
	}
	if d := cmp.Diff(want, Expand(h, artifact)); d != "" {
		t.Error(d)
	}
}

func run(t *testing.T, timeout time.Duration, script string, args ...string) Result {
	t.Helper()
	return Run(t.Context(), config.Hook{
		Argv: append([]string{"/bin/sh", "-c", script, "sh"}, args...), Timeout: timeout,
	}, artifact)
}

func TestRun(t *testing.T) {
	t.Setenv("SECRET", "token")
	t.Setenv("LANG", "C.UTF-8")
	r := run(t, time.Minute, `printf '%s\n' "$1"; env | sort; echo bad >&2; [ -t 0 ] || cat`, "{name}")
	if r.Err != nil || !strings.HasPrefix(r.Output, artifact.Name+"\n") {
		t.Fatalf("%v: %s", r.Err, r.Output)
	}
	for _, want := range []string{"\nCAL_WORKSPACE=demo\n", "\nCAL_ARTIFACT_PATH=" + artifact.Path + "\n", "\nLANG=C.UTF-8\n", "\nbad\n"} {
		if !strings.Contains(r.Output, want) {
			t.Errorf("no %q in %s", want, r.Output)
		}
	}
	if strings.Contains(r.Output, "token") {
		t.Error("the environment is the person's: " + r.Output)
	}
	if r := run(t, time.Minute, "exit 3"); r.Err == nil || r.Err.Error() != "exit status 3" {
		t.Error(r.Err)
	}
	if r := Run(t.Context(), config.Hook{Argv: []string{"/nowhere/x"}, Timeout: time.Minute}, artifact); r.Err == nil {
		t.Error("a program that is not there ran")
	}
}

// TestTheLimitEndsTheWholeGroup leaves nothing of a hook behind: neither at its limit, nor when it ends before its children.
func TestTheLimitEndsTheWholeGroup(t *testing.T) {
	for what, c := range map[string]struct {
		script  string
		timeout time.Duration
		want    string
	}{
		"at the limit":     {`sleep 1000 & echo $! >"$1"; wait`, 300 * time.Millisecond, "it took longer than 300ms and was ended"},
		"left behind":      {`sleep 1000 >/dev/null 2>&1 & echo $! >"$1"`, time.Minute, ""},
		"deaf to the term": {`trap '' TERM; echo $$ >"$1"; while :; do sleep 1; done`, 300 * time.Millisecond, "it took longer than 300ms and was ended"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			r := run(t, c.timeout, c.script, file)
			if got := fmt.Sprint(r.Err); got != c.want && (r.Err != nil || c.want != "") {
				t.Errorf("%v, want %q", r.Err, c.want)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var pid int
			if _, err := fmt.Sscan(string(text), &pid); err != nil {
				t.Fatal(err)
			}
			for syscall.Kill(pid, 0) == nil { // until it is reaped
				if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
					break
				}
				time.Sleep(10 * time.Millisecond)
				if t.Context().Err() != nil {
					t.Fatal("it lives")
				}
			}
		})
	}
}

func TestOutputIsCapped(t *testing.T) {
	r := run(t, time.Minute, `head -c 1000000 /dev/zero | tr '\0' 'x'; printf '\377'`)
	if r.Err != nil || len(r.Output) != maxOutput {
		t.Errorf("%d bytes, %v", len(r.Output), r.Err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	r := Run(ctx, config.Hook{Argv: []string{"/bin/sleep", "1000"}, Timeout: time.Hour}, artifact)
	if r.Err != context.Canceled { //nolint:errorlint // it is the cause itself
		t.Error(r.Err)
	}
}
