// Package hook runs the programs a person has named for artifacts that have landed.
//
// What must hold here: a program and its options are the person's; of the guest's words only text within an argument can
// come, never a program, an option or a shell's input. A program gets an environment of its own making, no terminal, a
// process group that is ended at its time limit, and its output goes, capped, to a log.
package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/config"
)

// Artifact is what a hook is told of.
type Artifact struct {
	Path       string // on the host, absolute
	Name       string // below the outbox
	Workspace  string
	Agent      string
	SHA256     string
	Size       int64
	Kind       string // "file" or "bundle"
	Repository string
	Commit     string
}

// Result is how one run of a hook ended.
type Result struct {
	Argv   []string
	Output string // what it printed, capped
	Took   time.Duration
	Err    error // nil: it ended with 0
}

// maxOutput bounds what is kept of a hook's output, in bytes.
const maxOutput = 16 << 10

// killAfter is how long after its end what a hook has left behind may hold on to its output.
const killAfter = 2 * time.Second

// Expand fills in the placeholders of a hook's arguments. Text that is filled in is not looked at again.
func Expand(h config.Hook, a Artifact) []string {
	words := map[string]string{
		"path": a.Path, "name": a.Name, "workspace": a.Workspace, "agent": a.Agent, "sha256": a.SHA256, "kind": a.Kind,
		"size": fmt.Sprint(a.Size), "repository": a.Repository, "commit": a.Commit,
	}
	pairs := make([]string, 0, 2*len(words))
	for word, text := range words {
		pairs = append(pairs, "{"+word+"}", strings.ReplaceAll(text, "\x00", ""))
	}
	r := strings.NewReplacer(pairs...)
	argv := []string{h.Argv[0]} // the person's alone
	for _, arg := range h.Argv[1:] {
		argv = append(argv, r.Replace(arg))
	}
	return argv
}

// environ is what a hook finds in its environment: where it is at home, its language, and what landed.
func environ(env func(string) string, a Artifact) []string {
	kept := []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	for _, key := range []string{"HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR"} {
		if v := env(key); v != "" {
			kept = append(kept, key+"="+v)
		}
	}
	return append(kept,
		"CAL_ARTIFACT_PATH="+a.Path, "CAL_ARTIFACT_NAME="+a.Name, "CAL_ARTIFACT_KIND="+a.Kind,
		"CAL_ARTIFACT_SHA256="+a.SHA256, fmt.Sprintf("CAL_ARTIFACT_SIZE=%d", a.Size), "CAL_WORKSPACE="+a.Workspace,
		"CAL_AGENT="+a.Agent, "CAL_REPOSITORY="+a.Repository, "CAL_COMMIT="+a.Commit)
}

// Run runs one hook on one artifact, until it ends, its time is over, or ctx ends.
func Run(ctx context.Context, h config.Hook, a Artifact) Result {
	r := Result{Argv: Expand(h, a)}
	limit := fmt.Errorf("it took longer than %s and was ended", h.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, limit)
	defer cancel()
	out := &capped{}
	cmd := exec.CommandContext(ctx, r.Argv[0], r.Argv[1:]...)
	cmd.Env, cmd.Dir = environ(os.Getenv, a), "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killAfter
	begun := time.Now()
	err := cmd.Run()
	if cmd.Process != nil {
		// What it started and left behind goes with it. Its own number is no longer anybody's, but the group's is until the
		// last of the group has ended.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	r.Took, r.Output = time.Since(begun), out.String()
	switch {
	case ctx.Err() != nil:
		r.Err = context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		// It ended well; what it left behind did not.
	case err != nil:
		r.Err = err
	}
	return r
}

// capped keeps the beginning of what is written to it.
type capped struct{ b bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.b.Write(p[:min(len(p), maxOutput-c.b.Len())])
	return len(p), nil
}

func (c *capped) String() string { return strings.ToValidUTF8(c.b.String(), "?") }
