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

	"github.com/gen2brain/beeep"

	"github.com/calmenu/calmenu/internal/hint"
)

// mac is the desktop of macOS. Files, folders, addresses and terminals are opened by open(1), which says why it failed,
// needs no run loop and so serves command-line verbs too; dialogs and notifications are AppKit's own.
type mac struct {
	env    func(string) string
	opts   options
	modals *modals
	notes  func() *notes
	over   context.Context
	end    context.CancelFunc
}

// TrayAvailable says whether there is a menu bar to show an icon in, and if not, why.
func TrayAvailable(context.Context) (bool, string) { return menuBar(os.Getenv) }

// Detect returns the desktop of the login session this process belongs to. In a session over SSH it returns nil and the
// reason, and CALMenu runs headless.
func Detect(env func(string) string, opts ...Option) (Desktop, string) {
	if ok, why := menuBar(env); !ok {
		return nil, why
	}
	over, end := context.WithCancel(context.Background())
	d := &mac{env: env, modals: newModals(cocoaHost{}), notes: lazyNotes(over), over: over, end: end}
	for _, o := range opts {
		o(&d.opts)
	}
	return d, ""
}

func menuBar(env func(string) string) (bool, string) {
	if env("SSH_CONNECTION") != "" {
		return false, "this is a session over SSH, which has no menu bar"
	}
	return hasAppKit, "this build has no menu bar (built without cgo)"
}

func (d *mac) Name() string { return "macOS" }

func (d *mac) Close() error {
	d.end()
	return nil
}

// alive is ctx, ended also by Close.
func (d *mac) alive(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(d.over, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// Notify posts by UNUserNotificationCenter from an application bundle, and by beeep otherwise, which tells of no clicks.
func (d *mac) Notify(ctx context.Context, n Notification) error {
	ctx, done := d.alive(ctx)
	defer done()
	if canNotify() {
		return d.notes().notify(ctx, n)
	}
	posted := make(chan error, 1) // beeep knows no context
	go func() { posted <- beeep.Notify(appleScriptText(n.Title), appleScriptText(n.Body), "") }()
	select {
	case err := <-posted:
		if err != nil {
			return fmt.Errorf("posting a notification: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("posting a notification: %w", context.Cause(ctx))
	}
}

func (d *mac) Ask(ctx context.Context, q Question) (Answer, error) {
	if !loopRuns() {
		return Answer{Cancelled: true}, hint.Errorf("Start CALMenu.app, or use the command line.",
			"showing a dialog: this process is not the menu bar program")
	}
	ctx, done := d.alive(ctx)
	defer done()
	return d.modals.ask(ctx, q)
}

func (d *mac) Terminal(ctx context.Context, r TerminalRequest) error {
	script, err := macScript(r, os.Environ())
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "calmenu-terminal-") // 0700
	if err != nil {
		return fmt.Errorf("opening a terminal: %w", err)
	}
	path := filepath.Join(dir, scriptName(r.Title))
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return errors.Join(fmt.Errorf("opening a terminal: %w", err), os.RemoveAll(dir))
	}
	if err := d.open(ctx, macTerminal(d.opts.terminal, path)...); err != nil {
		return errors.Join(hint.Wrap(fmt.Errorf("opening a terminal: %w", err),
			"Choose a terminal that is installed in config.yaml, or run `CALMenu session` in one."), os.RemoveAll(dir))
	}
	return nil // the script removes itself
}

func (d *mac) Open(ctx context.Context, pathOrURL string) error {
	u, err := url.Parse(pathOrURL)
	web := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	if !web && !filepath.IsAbs(pathOrURL) {
		// Other schemes could start anything.
		return fmt.Errorf("opening %q: neither an absolute path nor a web address", pathOrURL)
	}
	if err := d.open(ctx, pathOrURL); err != nil {
		return fmt.Errorf("opening %s: %w", pathOrURL, err)
	}
	return nil
}

func (d *mac) Reveal(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("revealing a file: %w", err)
	}
	if err := d.open(ctx, "-R", path); err != nil {
		return fmt.Errorf("revealing %s: %w", path, err)
	}
	return nil
}

func (d *mac) CopyText(ctx context.Context, s string) error {
	ctx, done := d.alive(ctx)
	defer done()
	cmd := exec.CommandContext(ctx, "/usr/bin/pbcopy")
	cmd.Env = append(os.Environ(), "LC_CTYPE=UTF-8") // an application has no locale, and pbcopy would guess another
	cmd.Stdin = strings.NewReader(s)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("copying to the clipboard: %w", err)
	}
	return nil
}

// open runs open(1), which hands over to LaunchServices and ends.
func (d *mac) open(ctx context.Context, args ...string) error {
	ctx, done := d.alive(ctx)
	defer done()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "/usr/bin/open", args...)
	cmd.Stderr = &said
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if text := strings.TrimSpace(said.String()); err != nil && text != "" {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}
