//go:build linux

package desktop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/desktop/sessionbus"
	"github.com/calmenu/calmenu/internal/hint"
)

// started is how long a program started for the person is watched for an early failure.
const started = 700 * time.Millisecond

// linux is a freedesktop desktop.
type linux struct {
	env      func(string) string
	opts     options
	notifier *notifier
	dialog   chan struct{} // holds one while a dialog is open
	over     context.Context
	end      context.CancelFunc
}

func newLinux(env func(string) string, opts ...Option) *linux {
	over, end := context.WithCancel(context.Background())
	d := &linux{env: env, dialog: make(chan struct{}, 1), over: over, end: end}
	for _, o := range opts {
		o(&d.opts)
	}
	d.notifier = newNotifier(over, env)
	return d
}

func (d *linux) Name() string { return describe(d.env) }

func (d *linux) Close() error {
	d.end()
	return nil
}

// alive is ctx, ended also by Close.
func (d *linux) alive(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if d.over.Err() != nil {
		cancel(ErrClosed)
	}
	stop := context.AfterFunc(d.over, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

func (d *linux) Notify(ctx context.Context, n Notification) error {
	ctx, done := d.alive(ctx)
	defer done()
	return d.notifier.post(ctx, n)
}

// noTool is xdg-open's exit code where it found no program (xdg-open(1)).
const noTool = 3

func (d *linux) Open(ctx context.Context, pathOrURL string) error {
	target, err := openable(pathOrURL)
	if err != nil {
		return err
	}
	program, err := exec.LookPath("xdg-open")
	if err != nil {
		return hint.Errorf("Install it: apt install xdg-utils", "opening %s: %w", pathOrURL, err)
	}
	err = launch(ctx, "", program, target)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == noTool {
		return hint.Errorf("Install a file manager, or a web browser.", "opening %s: this desktop has no program for it", pathOrURL)
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", pathOrURL, err)
	}
	return nil
}

// openable returns what may be handed to the person's programs: an http(s) URL, or an absolute path that exists. Other
// schemes could start anything.
func openable(s string) (string, error) {
	if u, err := url.Parse(s); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return s, nil
	}
	if !filepath.IsAbs(s) {
		return "", fmt.Errorf("opening %q: neither an absolute path nor a web address", s)
	}
	if _, err := os.Stat(s); err != nil {
		return "", fmt.Errorf("opening a file: %w", err)
	}
	return s, nil
}

func (d *linux) Reveal(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err != nil {
		return fmt.Errorf("revealing a file: %w", err)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("revealing a file: %w", err)
	}
	if d.showItems(ctx, path) == nil {
		return nil
	}
	return d.Open(ctx, filepath.Dir(path))
}

// showItems asks the file manager to select path (freedesktop FileManager1).
func (d *linux) showItems(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := sessionbus.Connect(ctx, d.env)
	if err != nil {
		return err
	}
	defer conn.Close()
	uri := (&url.URL{Scheme: "file", Path: path}).String()
	return conn.Object("org.freedesktop.FileManager1", "/org/freedesktop/FileManager1").
		CallWithContext(ctx, "org.freedesktop.FileManager1.ShowItems", 0, []string{uri}, "").Err
}

func (d *linux) CopyText(ctx context.Context, s string) error {
	tools := [][]string{{"xclip", "-selection", "clipboard"}, {"xsel", "--clipboard", "--input"}}
	if d.env("WAYLAND_DISPLAY") != "" {
		tools = append([][]string{{"wl-copy"}}, tools...)
	}
	for _, argv := range tools {
		program, err := exec.LookPath(argv[0])
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		// These stay behind to own the selection: no pipe but standard input, or Run would wait for them.
		cmd := exec.CommandContext(ctx, program, argv[1:]...)
		cmd.Stdin = strings.NewReader(s)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("copying to the clipboard with %s: %w", argv[0], err)
		}
		return nil
	}
	return hint.Errorf("Install one: apt install xclip (X11) or wl-clipboard (Wayland)",
		"copying to the clipboard: none of wl-copy, xclip and xsel is installed")
}

// launch starts argv in a session of its own, so that it outlives CALMenu and gets none of its signals. A program that
// fails within a moment is an error with what it said; one that goes on, or ends well, has started.
func launch(ctx context.Context, dir string, argv ...string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	said, err := os.CreateTemp("", "calmenu-launch-*")
	if err != nil {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	defer said.Close()
	// The file has no name from here on: the program may go on writing to it for as long as it lives.
	if err := os.Remove(said.Name()); err != nil {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stderr = dir, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", argv[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	watch := time.NewTimer(started)
	defer watch.Stop()
	select {
	case err := <-ended:
		if err == nil {
			return nil
		}
		last := make([]byte, 500)
		n, _ := said.ReadAt(last, 0)
		if text := bytes.TrimSpace(last[:n]); len(text) > 0 {
			return fmt.Errorf("starting %s: %w: %s", filepath.Base(argv[0]), err, text)
		}
		return fmt.Errorf("starting %s: %w", filepath.Base(argv[0]), err)
	case <-watch.C:
		return nil
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), cmd.Process.Kill())
	}
}
