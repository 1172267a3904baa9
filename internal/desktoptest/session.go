//go:build linux

package desktoptest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// Width and Height are the size of the screen in pixels.
const (
	Width  = 1280
	Height = 800
)

// patience bounds each wait of the harness itself. It is generous: the machine may be busy with a virtual machine.
const patience = 60 * time.Second

// programs are what the desktop consists of, and the Debian packages that have them.
var programs = map[string]string{
	"Xvfb": "xvfb", "dbus-daemon": "dbus-daemon", "xfwm4": "xfwm4", "xfce4-panel": "xfce4-panel", "dunst": "dunst",
	"xdotool": "xdotool",
}

// Session is a running desktop. Its methods fail the test when the desktop does not do as asked.
type Session struct {
	t    testing.TB
	dir  string // configuration, home and state
	out  string // artifacts
	env  []string
	bus  *dbus.Conn
	fb   string // the framebuffer, a file that Xvfb maps
	done context.Context
}

// Start starts a desktop that ends with the test. The test is skipped unless CAL_TEST_DESKTOP=1.
func Start(t testing.TB) *Session {
	t.Helper()
	if os.Getenv("CAL_TEST_DESKTOP") != "1" {
		t.Skip("set CAL_TEST_DESKTOP=1: this test needs Xvfb, xfce4-panel, xfwm4, dunst and xdotool")
	}
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("starting a desktop: %v (apt install %s)", err, pkg)
		}
	}
	done, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &Session{t: t, dir: t.TempDir(), out: artifacts(t), done: done}
	s.configure()
	s.startDisplay()
	s.startBus()
	s.paintRoot()
	s.run("xfwm4", "xfwm4", "--compositor=off")
	s.run("dunst", "dunst", "-config", filepath.Join(s.dir, "dunstrc"))
	s.run("xfce4-panel", "xfce4-panel", "--disable-wm-check")
	s.WaitFor(func() bool { return s.owned("org.kde.StatusNotifierWatcher") }, patience, "the panel's status tray")
	s.WaitFor(func() bool { return s.owned("org.freedesktop.Notifications") }, patience, "the notification daemon")
	return s
}

// paintRoot gives the screen a background, where ImageMagick is there to do it: only the screenshots are nicer for it.
func (s *Session) paintRoot() {
	program, err := exec.LookPath("display")
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.done, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-size", fmt.Sprintf("%dx%d", Width, Height), "-window", "root",
		"gradient:#4d6a92-#1b2638")
	cmd.Env = s.env
	// display paints the root window and then ends with status 1 for want of an image to show.
	if out, err := cmd.CombinedOutput(); len(out) > 0 {
		s.t.Logf("painting the background: %v: %s", err, out)
	}
}

// artifacts returns the folder that screenshots and logs go to.
func artifacts(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CAL_ARTIFACTS")
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(root, "build", "desktop")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("finding go.mod above %s", dir)
		}
	}
}

// configure lays out a home of its own and the environment of everything that runs on the desktop.
func (s *Session) configure() {
	s.t.Helper()
	dirs := map[string]string{}
	for _, name := range []string{"home", "config", "cache", "data", "run", "fb"} {
		dirs[name] = filepath.Join(s.dir, name)
		if err := os.MkdirAll(dirs[name], 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	for name, text := range s.configFiles() {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	s.fb = filepath.Join(dirs["fb"], "Xvfb_screen0")
	s.env = []string{
		"PATH=" + filepath.Join(s.dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dirs["home"], "LANG=C.UTF-8",
		"SHELL=/bin/bash",
		"XDG_CONFIG_HOME=" + dirs["config"], "XDG_CACHE_HOME=" + dirs["cache"], "XDG_DATA_HOME=" + dirs["data"],
		"XDG_RUNTIME_DIR=" + dirs["run"], "XDG_CURRENT_DESKTOP=XFCE", "GDK_BACKEND=x11", "GSETTINGS_BACKEND=memory",
		"NO_AT_BRIDGE=1", "GTK_A11Y=none",
	}
}

func (s *Session) startDisplay() {
	s.t.Helper()
	number, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command("Xvfb", "-displayfd", "3", "-screen", "0", fmt.Sprintf("%dx%dx24", Width, Height), "-nolisten", "tcp",
		"-noreset", "-fbdir", filepath.Dir(s.fb))
	cmd.ExtraFiles = []*os.File{w}
	s.start("Xvfb", cmd)
	w.Close()
	s.env = append(s.env, "DISPLAY=:"+s.firstLine(number, "Xvfb"))
}

func (s *Session) startBus() {
	s.t.Helper()
	address, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=3")
	cmd.ExtraFiles = []*os.File{w}
	s.start("dbus-daemon", cmd)
	w.Close()
	at := s.firstLine(address, "dbus-daemon")
	s.env = append(s.env, "DBUS_SESSION_BUS_ADDRESS="+at)
	if s.bus, err = dbus.Connect(at); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.bus.Close() })
}

// firstLine reads what a server says once it is ready.
func (s *Session) firstLine(r *os.File, who string) string {
	s.t.Helper()
	defer r.Close()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil {
		s.t.Fatalf("starting %s: %v (see %s)", who, err, s.logFile(who))
	}
	return strings.TrimSpace(line)
}

// Env returns the environment of a program on this desktop. Its home is empty.
func (s *Session) Env() []string { return append([]string(nil), s.env...) }

// Getenv looks a variable up in Env.
func (s *Session) Getenv(name string) string {
	for _, kv := range s.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// Artifacts returns the folder of the screenshots.
func (s *Session) Artifacts() string { return s.out }

func (s *Session) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = s.Env()
	cmd.Dir = filepath.Join(s.dir, "home")
	return cmd
}

func (s *Session) run(name string, argv ...string) { s.start(name, s.command(argv[0], argv[1:]...)) }

// Run starts a program on the desktop; extra is added to its environment. What it prints goes to name.log in
// Artifacts. The process and its group end with the test, if not before.
func (s *Session) Run(name string, extra []string, argv ...string) *os.Process {
	s.t.Helper()
	cmd := s.command(argv[0], argv[1:]...)
	cmd.Env = append(cmd.Env, extra...)
	return s.start(name, cmd)
}

func (s *Session) logFile(name string) string { return filepath.Join(s.out, name+".log") }

func (s *Session) start(name string, cmd *exec.Cmd) *os.Process {
	s.t.Helper()
	log, err := os.Create(s.logFile(name))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("starting %s: %v", name, err)
	}
	ended := make(chan struct{})
	go func() {
		// How it ended is of no interest: it is in its log, or it was killed below.
		_ = cmd.Wait()
		close(ended)
	}()
	s.t.Cleanup(func() {
		end := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer end.Stop()
		// The group is gone already if the program ended by itself.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-ended
	})
	return cmd.Process
}

func (s *Session) owned(name string) bool {
	var owned bool
	err := s.bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, name).Store(&owned)
	return err == nil && owned
}

// WaitFor looks at cond until it holds. When it does not in time, the test fails with what was waited for, and the
// screen is kept as failed-<test>.png.
func (s *Session) WaitFor(cond func() bool, timeout time.Duration, what string) {
	s.t.Helper()
	s.waitFor(cond, timeout, func() string { return what })
}

func (s *Session) waitFor(cond func() bool, timeout time.Duration, what func() string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.done, timeout)
	defer cancel()
	if !Poll(ctx, cond) {
		path := s.Screenshot("failed-" + strings.NewReplacer("/", "-", " ", "-").Replace(s.t.Name()))
		s.t.Fatalf("waited %v for %s (see %s)", timeout, what(), path)
	}
}

// Poll looks at cond until it holds or ctx ends, and tells which. It looks at what costs little all the time, and rests
// for four times as long as a look that starts programs takes: what is waited for needs the processor as well.
func Poll(ctx context.Context, cond func() bool) bool {
	const often, little = 5 * time.Millisecond, 10 * time.Millisecond
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-rest.C:
		case <-ctx.Done():
			return false
		}
		began := time.Now()
		if cond() {
			return true
		}
		pause := often
		if took := time.Since(began); took > little {
			pause = 4 * took
		}
		rest.Reset(pause)
	}
}
