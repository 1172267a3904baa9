package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

// The programs of macOS that sign. They are called by these paths on a Mac, so that no other program of the name is.
const (
	Codesign    = "/usr/bin/codesign"
	Ditto       = "/usr/bin/ditto"
	Xcrun       = "/usr/bin/xcrun"
	Spctl       = "/usr/sbin/spctl"
	productsign = "/usr/bin/productsign"
	xcodebuild  = "/usr/bin/xcodebuild"
	security    = "/usr/bin/security"
)

// AdHoc signs with no identity: enough for the Mac it was built on.
const AdHoc = "-"

// SignAdvice is what to do about a signature that fails.
const SignAdvice = "See security find-identity -v -p codesigning for identities; unlock the keychain if it is locked; " +
	"codesign itself comes with xcode-select --install."

// Mac is the computer things are signed on.
type Mac struct {
	GOOS string
	Say  io.Writer // is told what is done; nil: nobody is
	// Command runs a program and returns what it printed; tests record it instead.
	Command func(ctx context.Context, argv []string) (Output, error)
}

// Output is what a program printed: all of it, for people, and standard output alone, for reading.
type Output struct{ All, Stdout string }

// ThisMac is the computer this program runs on. Off a Mac it runs programs of the names that are on PATH, where there
// are such.
func ThisMac(say io.Writer) *Mac {
	return &Mac{GOOS: runtime.GOOS, Say: say, Command: execute}
}

// maxOutput bounds what is kept of what a program prints, in bytes.
const maxOutput = 1 << 20

func execute(ctx context.Context, argv []string) (Output, error) {
	program := argv[0]
	if runtime.GOOS != "darwin" {
		program = filepath.Base(program)
	}
	stdout, all := &head{}, &head{}
	cmd := exec.CommandContext(ctx, program, argv[1:]...)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(stdout, all), all
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return Output{All: all.String(), Stdout: stdout.String()}, err
}

// head keeps the beginning of what is written to it. A program's two outputs are written to it side by side.
type head struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b.Write(p[:min(len(p), maxOutput-h.b.Len())])
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}

// ErrNotMac is why a step is refused elsewhere.
var ErrNotMac = errors.New("this needs a Mac")

// Step runs one program, after saying what for. A failure carries what the program said.
func (m *Mac) Step(ctx context.Context, what, advice string, argv ...string) (Output, error) {
	m.say("%s\n", what)
	out, err := m.Command(ctx, argv)
	switch {
	case ctx.Err() != nil:
		return out, fmt.Errorf("%s: %w", what, ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		err = fmt.Errorf("%s: %w: %s is a program of macOS", what, ErrNotMac, filepath.Base(argv[0]))
		return out, hint.Wrap(err, "Sign it on a Mac, with CALMenu there or by hand.")
	case err != nil:
		err = fmt.Errorf("%s: %s: %w\n%s", what, filepath.Base(argv[0]), err, strings.TrimSpace(out.All))
		return out, hint.Wrap(err, advice)
	}
	return out, nil
}

func (m *Mac) say(format string, args ...any) {
	if m.Say != nil {
		_, _ = fmt.Fprintf(m.Say, format, args...)
	}
}

// Signature returns the command that signs path. The hardened runtime holds for ad hoc signatures too. A time stamp of
// Apple's keeps a signature valid after its certificate has expired; an ad hoc signature has none.
func Signature(identity, entitlements, path string) []string {
	argv := []string{Codesign, "--force", "--options", "runtime", timestamp(identity)}
	if entitlements != "" {
		argv = append(argv, "--entitlements", entitlements)
	}
	return append(argv, "--sign", identity, path)
}

func timestamp(identity string) string {
	if identity == AdHoc {
		return "--timestamp=none"
	}
	return "--timestamp"
}

// Verification returns the command that checks a signature and all that is nested in what it signs.
func Verification(path string) []string {
	return []string{Codesign, "--verify", "--deep", "--strict", "--verbose=2", path}
}
