package tart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/vm"
)

// installHint names the tap Tart has moved to with version 2.33 (section 13).
const installHint = "Install it with `brew install openai/tools/tart`, which was cirruslabs/cli/tart."

// floor is the oldest Tart this driver works with (section 11).
var floor = [3]int{2, 31, 0}

// cliError is a tart command that ended with an error (section 1).
type cliError struct {
	command string
	code    int
	text    string // of standard error, or of all output for `tart run`
}

func (e *cliError) Error() string {
	text := e.text
	if first, _, more := strings.Cut(text, "\nUsage: "); more {
		text = first
	}
	text = strings.TrimSpace(strings.TrimPrefix(text, "Error: "))
	if text == "" {
		text = "no reason given"
	}
	return fmt.Sprintf("tart %s: %s (exit %d)", e.command, strings.Join(strings.Fields(text), " "), e.code)
}

// transient tells whether another try may help: any error Tart did not word itself (class C) and this driver has no
// word for, such as one met while another machine was being deleted (row 19, section 3).
func (e *cliError) transient() bool {
	if e.code != 1 || !strings.HasPrefix(e.text, "Error: ") {
		return false
	}
	for _, r := range reasons {
		if r.pattern.MatchString(e.text) {
			return false
		}
	}
	return true
}

// environ is what tart runs with: no cursor codes on a pipe, no deletion of the user's cached images.
func (d *Driver) environ() []string {
	env := []string{}
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "TART_HOME", "TART_NO_AUTO_PRUNE", "CI", "TRACEPARENT":
		default:
			env = append(env, kv)
		}
	}
	return append(env, "TART_HOME="+d.home, "TART_NO_AUTO_PRUNE=1", "CI=1")
}

// command prepares a tart command in a process group of its own, so that a Ctrl-C in the terminal does not reach it.
func (d *Driver) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.options.Binary, args...)
	cmd.Env = d.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Killed, not interrupted: an interrupted pull deletes what it has (section 10).
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// tart runs a command to its end and returns its standard output. What failed for no reason of the command's own is
// tried twice.
func (d *Driver) tart(ctx context.Context, args ...string) (string, error) {
	if err := d.checkVersion(ctx); err != nil {
		return "", err
	}
	out, err := d.once(ctx, args...)
	var failed *cliError
	if errors.As(err, &failed) && failed.transient() && ctx.Err() == nil {
		out, err = d.once(ctx, args...)
	}
	return out, explain(err)
}

func (d *Driver) once(ctx context.Context, args ...string) (string, error) {
	cmd := d.command(ctx, args...)
	var out, errOut limitedBuffer
	out.limit, errOut.limit = 4<<20, 64<<10
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if out.over {
		return "", fmt.Errorf("tart %s: it printed more than %d bytes", args[0], out.limit)
	}
	return out.String(), asCLIError(args[0], err, errOut.String())
}

func asCLIError(command string, err error, text string) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return &cliError{command, exit.ExitCode(), strings.TrimSpace(text)}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist):
		return hint.Wrap(fmt.Errorf("running tart: %w", err), installHint)
	}
	return fmt.Errorf("running tart %s: %w", command, err)
}

// limitedBuffer keeps the first bytes written to it.
type limitedBuffer struct {
	bytes.Buffer
	limit int
	over  bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := b.limit - b.Len()
	if room < len(p) {
		b.over = true
		b.Buffer.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// checkVersion refuses a Tart older than floor. A development build says SNAPSHOT and is believed.
func (d *Driver) checkVersion(ctx context.Context) error {
	d.mu.Lock()
	known := d.version != ""
	d.mu.Unlock()
	if known {
		return nil
	}
	out, err := d.once(ctx, "--version")
	if err != nil {
		return err
	}
	version := strings.TrimSpace(out)
	if err := newEnough(version); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version = version
	return nil
}

var versionPattern = lazyre.New(`^(\d{1,4})\.(\d{1,4})\.(\d{1,4})`)

func newEnough(version string) error {
	if version == "SNAPSHOT" {
		return nil
	}
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return hint.Errorf(installHint, "checking Tart: it gives its version as %.40q", version)
	}
	for i, want := range floor {
		got, err := strconv.Atoi(m[i+1])
		if err != nil || got < want {
			return hint.Errorf("Upgrade it with `brew upgrade tart`.", "Tart %s is too old: %d.%d.%d is needed",
				m[0], floor[0], floor[1], floor[2])
		}
		if got > want {
			return nil
		}
	}
	return nil
}

const keychainHint = "Log in to this Mac's screen once, or run `security unlock-keychain`, and try again."

// reasons are what Tart's texts mean (sections 1, 7, 8, 12), first match first.
var reasons = []struct {
	pattern  *lazyre.Regexp
	sentinel error
	hint     string
}{
	{
		lazyre.New(`The number of VMs exceeds the system limit`), vm.ErrLimit,
		"Apple allows two running macOS virtual machines on one Mac: stop one of them, or one of another program.",
	},
	{lazyre.New(`VM ".*" is already running!|^VM "[^"]*" is running$`), vm.ErrRunning, ""},
	{lazyre.New(`is not running$`), vm.ErrNotRunning, ""},
	{lazyre.New(`the specified VM "[^"]*" does not exist|non-existent local VM`), vm.ErrNotFound, ""},
	{lazyre.New(`target VM \S+ already exists`), vm.ErrExists, ""},
	{
		lazyre.New(`(?i)no space left on device|not enough (free )?disk space`), vm.ErrNoSpace,
		"Free disk space: CALMenu's snapshots are listed by `CALMenu snapshot list`.",
	},
	{lazyre.New(`code: 404`), vm.ErrNoImage, "Check the image's name in config.yaml."},
	{lazyre.New(`AuthFailed|code: 40[13]`), nil, "Sign in to the image's registry with `tart login`."},
	{
		lazyre.New(`softnet not found in PATH`), nil,
		"Install it with `brew install cirruslabs/cli/softnet`.",
	},
	{
		lazyre.New(`Softnet process terminated prematurely`), nil,
		"Softnet needs to run as root: `sudo chown root $(which softnet) && sudo chmod u+s $(which softnet)`.",
	},
	{lazyre.New(`VZErrorDomain Code=(1|-9) |-25308`), nil, keychainHint},
	{
		lazyre.New(`LessThanMinimalResourcesError`), nil,
		"Give the workspace more processors or memory in its vm.yaml.",
	},
	{lazyre.New(`new disk size of .* should be larger`), nil, "A disk can grow, but not shrink."},
	{
		lazyre.New(`(?i)bind.*control ?\.?sock`), nil,
		"Set TART_HOME to a shorter path: the sockets in it need one.",
	},
	{
		lazyre.New(`VM is missing some of its files`), nil,
		"Roll the workspace back to a snapshot, or delete it.",
	},
	{
		lazyre.New(`(?i)internet connection|offline|could not be found|timed out`), nil,
		"Check this Mac's network connection.",
	},
}

// explain adds to a tart command's error what it means and what to do. An error it does not know stays as it is.
func explain(err error) error {
	var failed *cliError
	if !errors.As(err, &failed) {
		return err
	}
	for _, r := range reasons {
		if !r.pattern.MatchString(failed.text) {
			continue
		}
		if r.sentinel != nil {
			err = fmt.Errorf("%w: %w", r.sentinel, err)
		}
		if r.hint != "" {
			err = hint.Wrap(err, r.hint)
		}
		return err
	}
	return err
}
