package github_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
)

// nobody is who the guest is where the tests run as root: root may read everything.
const nobody = 65534

// sandbox is a guest without a machine: a home on this host, in which the guest's commands run for real.
type sandbox struct {
	t    testing.TB
	home string
	bin  string // first in PATH
	env  []string
	ran  int // commands
	uid  *syscall.Credential
}

func newSandbox(t testing.TB) *sandbox {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	s := &sandbox{t: t, home: filepath.Join(dir, "home"), bin: filepath.Join(dir, "bin")}
	for _, d := range []string{s.home, s.bin, filepath.Join(s.home, "workspace"), filepath.Join(s.home, "output")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if s.home, err = filepath.EvalSymlinks(s.home); err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"HOME=" + s.home, "PATH=" + s.bin + ":" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "TMPDIR=" + dir,
		"GIT_CONFIG_GLOBAL=" + filepath.Join(s.home, ".gitconfig"),
	}
	if os.Geteuid() == 0 {
		s.uid = &syscall.Credential{Uid: nobody, Gid: nobody}
		// What testing made for root must be passed through.
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s.own()
	}
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+rwx", dir).Run() })
	return s
}

// own gives what root has put into the sandbox to the guest's user.
func (s *sandbox) own() {
	s.t.Helper()
	if s.uid == nil {
		return
	}
	out, err := exec.Command("chown", "-R", "-h", "65534:65534", filepath.Dir(s.bin)).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// Output runs a guest's command on this host.
func (s *sandbox) Output(ctx context.Context, c guest.Cmd) (guest.Result, error) {
	s.ran++
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	if !strings.Contains(c.Argv[0], "/") {
		if own := filepath.Join(s.bin, c.Argv[0]); exec.Command("test", "-x", own).Run() == nil {
			cmd.Path, cmd.Err = own, nil
		}
	}
	cmd.Env, cmd.Dir = s.env, s.home
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if c.Dir != "" {
		cmd.Dir = c.Dir
		if !filepath.IsAbs(c.Dir) {
			cmd.Dir = filepath.Join(s.home, c.Dir)
		}
	}
	cmd.Stdin = c.Stdin
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.uid}
	// As the guest's server does, the whole command is killed.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	r := guest.Result{Stdout: out.Bytes(), Stderr: errOut.Bytes(), Exit: cmd.ProcessState.ExitCode()}
	limit := c.Limit
	if limit == 0 {
		limit = guest.DefaultLimit
	}
	if int64(len(r.Stdout)) > limit {
		r.Stdout, r.Truncated = r.Stdout[:limit], true
		return r, guest.ErrLimit
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return r, nil
	}
	return r, errors.Join(err, ctx.Err())
}

// sh runs a script in the guest's home, which must succeed.
func (s *sandbox) sh(script string, args ...string) string {
	s.t.Helper()
	r, err := s.Output(s.t.Context(), guest.Cmd{Argv: append([]string{"/bin/sh", "-euc", script, "sh"}, args...)})
	if err != nil || r.Exit != 0 {
		s.t.Fatalf("%v, exit status %d: %s\n%s", err, r.Exit, r.Stderr, script)
	}
	return strings.TrimSuffix(string(r.Stdout), "\n")
}

// program puts a program first into the guest's PATH.
func (s *sandbox) program(name, script string) {
	s.t.Helper()
	file := filepath.Join(s.bin, name)
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		s.t.Fatal(err)
	}
}
