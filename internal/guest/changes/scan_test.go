package changes

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/guest"
)

// sandbox is a guest without a machine: a root and a home on this host, in which the script runs for real.
type sandbox struct {
	t          testing.TB
	root, home string
	bin        string // first in PATH
}

func newSandbox(t testing.TB) *sandbox {
	t.Helper()
	if out, err := exec.Command("find", "--version").Output(); err != nil || !strings.Contains(string(out), "GNU") {
		t.Skip("this host's find is not GNU's")
	}
	for _, tool := range []string{"git", "perl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &sandbox{t: t, root: root, home: filepath.Join(root, "home/me"), bin: filepath.Join(root, "dev/bin")}
	for _, d := range []string{s.home, s.bin, filepath.Join(root, "usr/local"), filepath.Join(root, "proc")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *sandbox) Stream(ctx context.Context, c guest.Cmd, stdout, stderr io.Writer) (int, error) {
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Env = []string{
		"HOME=" + s.home, "PATH=" + s.bin + ":" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "TMPDIR=" + s.bin,
		"GIT_AUTHOR_NAME=Keeper", "GIT_AUTHOR_EMAIL=k@example.org", "GIT_COMMITTER_NAME=Keeper",
		"GIT_COMMITTER_EMAIL=k@example.org",
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.home, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// As the guest's server does, the whole command is killed.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	if err != nil {
		return -1, err
	}
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	go func() {
		if c.Stdin != nil {
			_, _ = io.Copy(in, c.Stdin)
		}
		_ = in.Close()
	}()
	err = cmd.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return -1, cause
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return cmd.ProcessState.ExitCode(), err
}

// sh runs a script in the home, which must succeed.
func (s *sandbox) sh(script string) {
	s.t.Helper()
	var out strings.Builder
	code, err := s.Stream(s.t.Context(), guest.Cmd{Argv: []string{"/bin/sh", "-euc", script}}, &out, &out)
	if err != nil || code != 0 {
		s.t.Fatalf("%v, exit status %d: %s\n%s", err, code, out.String(), script)
	}
}

// now is an instant that what was done before it is older than, by the file system's clock too.
func (s *sandbox) now() time.Time {
	s.t.Helper()
	file := filepath.Join(s.bin, "clock")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for past := time.Now(); ; <-tick.C {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			s.t.Fatal(err)
		}
		fi, err := os.Stat(file)
		if err != nil {
			s.t.Fatal(err)
		}
		if fi.ModTime().Sub(past) > grain+10*time.Millisecond {
			return fi.ModTime()
		}
	}
}

const before = `mkdir -p workspace kept .npm/store
echo old >kept/old; echo old >kept/touched; echo old >kept/gone
for r in app idle gone; do
  git init -q -b main workspace/$r
  (cd workspace/$r && echo x >file && git add . && git commit -q -m old)
done
git clone -q --bare workspace/app bare.git
`

const after = `echo more >>kept/touched
rm kept/gone
mkdir new
head -c 1000 /dev/zero >new/thousand
printf x >'new/a
b'
printf xx >"$(printf 'new/\377\033[31m')"
ln -s /etc/passwd new/link
echo cached >.npm/store/tarball
echo sys >../../usr/local/tool
echo seen >../../proc/never
cd workspace/app
for i in 1 2 3 4; do echo $i >>file; git commit -q -a -m "change $i"; done
git tag v1
git worktree add -q ../linked >/dev/null 2>&1
cd ../linked
git checkout -q --detach
printf 'evil \033[31m subject\n' >file; git commit -q -a -F file
git push -q ../../bare.git HEAD:refs/heads/new
cd ..
rm -rf gone
`

// TestScan changes a home in every way and finds it all, with either of the two finds.
func TestScan(t *testing.T) {
	for _, mac := range []bool{false, true} {
		t.Run(map[bool]string{false: "GNU find", true: "another find"}[mac], func(t *testing.T) {
			t.Parallel()
			s := newSandbox(t)
			s.sh(before)
			since := s.now().Truncate(time.Second).Add(2 * time.Second) // commits, and macOS's find, know no parts of it
			for s.now().Before(since.Add(grain)) {
			}
			s.sh(after)
			where := place{root: s.root, mac: "/no/such/directory"}
			if mac {
				where.mac = "/"
			}
			r, err := scan(t.Context(), s, since, Limits{Top: 3, Newest: 2}.withDefaults(), where)
			if err != nil {
				t.Fatal(err)
			}
			if r.Incomplete || len(r.Reasons) > 0 {
				t.Errorf("incomplete: %q", r.Reasons)
			}
			top := []File{{"new/thousand", 1000}, {"workspace/linked/file", 19}, {"new/link", 11}}
			if d := cmp.Diff(top, r.Top); d != "" {
				t.Error(d)
			}
			// kept/touched, four new ones, file of app and of linked
			if r.Yours.Files != 7 {
				t.Errorf("%d files changed", r.Yours.Files)
			}
			// kept, new, workspace, app (git writes file anew), linked
			if r.Yours.Folders < 4 || r.Yours.Folders > 5 {
				t.Errorf("names changed in %d folders", r.Yours.Folders)
			}
			if want := (Count{Files: 1, Folders: 1, Bytes: 7}); r.Caches != want {
				t.Errorf("caches: %+v", r.Caches)
			}
			if r.System.Files != 1 || r.System.Bytes != 4 {
				t.Errorf("system: %+v", r.System)
			}
			if r.Git.Files < 10 {
				t.Errorf("repositories' own: %+v", r.Git)
			}
			got := map[string]Repo{}
			for _, repo := range r.Repos {
				got[repo.Path] = repo
			}
			if len(got) != 2 || got["workspace/app"].Commits != 5 || got["bare.git"].Commits != 5 {
				t.Errorf("repositories: %+v", r.Repos)
			}
			newest := got["workspace/app"].Newest
			if len(newest) != 2 || newest[0].Subject != "evil ?[31m subject" && newest[1].Subject != "evil ?[31m subject" {
				t.Errorf("newest commits: %+v", newest)
			}
			if left, _ := filepath.Glob(filepath.Join(s.bin, "tmp.*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if lines := strings.Join(r.Lines(60), "\n"); !strings.Contains(lines, "5 commits in workspace/app") {
				t.Error(lines)
			}
		})
	}
}

// TestClock has guests whose clocks go wrong: what changed is found all the same.
func TestClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 500)
	for _, x := range []struct {
		says string
		want time.Time // for an instant one minute ago
	}{
		{"1800000000.000000500", now.Add(-time.Minute - grain)},
		{"1800003600.000000500", now.Add(time.Hour - time.Minute - grain)},
		{"1799996400.000000500", now.Add(-time.Hour - time.Minute - grain)},
		{"1800000000.N", now.Add(-time.Minute - grain - 500)},
		{"10", time.Unix(0, 0)},
		{"", time.Time{}},
		{"-5", time.Time{}},
		{"99999999999999", time.Time{}},
		{"\x1b[31m", time.Time{}},
	} {
		got, err := onGuestClock(x.says, now.Add(-time.Minute), now)
		if (err != nil) != x.want.IsZero() || !got.Equal(x.want) {
			t.Errorf("%q: %v, %v", x.says, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q is not cleaned", err)
		}
	}
}

// TestSlowGuest has a search that does not end: what was found until then is told, and that it is not all.
func TestSlowGuest(t *testing.T) {
	s := newSandbox(t)
	program := "#!/bin/sh\nprintf '+f 5 found\\0'\nexec sleep 60\n"
	if err := os.WriteFile(filepath.Join(s.bin, "find"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := scan(t.Context(), s, time.Now(), Limits{Timeout: 2 * time.Second}.withDefaults(), guestRoot)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Incomplete || r.Yours.Files != 1 {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, s, time.Now(), Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// mute is a guest that says what it is told to say, whatever is asked.
type mute struct{ out, errOut string }

func (m mute) Stream(_ context.Context, _ guest.Cmd, stdout, stderr io.Writer) (int, error) {
	_, _ = io.WriteString(stdout, m.out)
	_, _ = io.WriteString(stderr, m.errOut)
	return 0, nil
}

func TestStrangeGuest(t *testing.T) {
	if _, err := Scan(t.Context(), mute{}, time.Now(), Limits{}); err == nil {
		t.Error("a guest that says nothing is taken for one in which nothing changed")
	}
	if _, err := Scan(t.Context(), mute{out: "h/\x00cnever\x00"}, time.Now(), Limits{}); err == nil {
		t.Error("a clock that is none is believed")
	}
	twice := mute{"h/\x00c1800000000\x00c1\x00x0\x00x0\x00z\x00", "sh: no\n\x00x0\x00"}
	r, err := Scan(t.Context(), twice, time.Now(), Limits{})
	if err != nil || !r.Incomplete || len(r.Reasons) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
