package session

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
)

// ConsoleOptions say how a Console behaves.
type ConsoleOptions struct {
	Actions Actions // behind the hotkeys
	Status  Status  // what the banner says at first
	Term    string  // the terminal's TERM; "dumb" and "" have no banner
	Colour  bool    // false where NO_COLOR is set
	Banner  bool
	Prefix  byte // what the prefix key sends, such as 0x1d for Ctrl-]
	// ClipboardWrite lets programs write the clipboard, ClipboardMax bytes at a time.
	ClipboardWrite bool
	ClipboardMax   int
	// QuietAfter is how long a program that was at work must be silent to count as waiting; 0: silence never counts.
	QuietAfter time.Duration
	// OnWaiting is called when the program waits for the person while the window is not in front, at most twice a minute;
	// text is stripped and capped, and may be empty. OnActive is called when the person is back. Neither may block.
	OnWaiting func(text string)
	OnActive  func()
	// OnDenied is called with what a program was refused: a clipboard write, an oversized sequence. It may not block.
	OnDenied func(what string)
}

// Program is what a Console shows: a command on a terminal of the guest.
type Program struct {
	Guest interface {
		PTY(ctx context.Context, c guest.Cmd, t guest.Terminal) (int, error)
	}
	Cmd guest.Cmd
	// Repaint makes the program draw its screen anew; nil: it is told of a new window size, twice.
	Repaint func(ctx context.Context) error
}

// RunResult is how Run ended. At most one of the fields beside Exit says something.
type RunResult struct {
	Exit       int    // the command's exit status
	Detach     bool   // the person leaves, or the window was closed: the agent goes on
	SwitchTo   string // identifier of the agent the person asked for
	Stop       bool   // the VM was stopped at the person's wish
	RolledBack bool   // the VM was rolled back: the connection is gone, or is of before
}

var (
	// ErrGivenUp is returned by Await if the person would not wait.
	ErrGivenUp = errors.New("given up by the person")
	// ErrHangup is the cause of a context that ended because the terminal went away, or the process was asked to end.
	ErrHangup = errors.New("terminal was closed")
)

// Console is the user's terminal for the time of a session: see the package's documentation.
type Console struct {
	tty     *os.File
	o       ConsoleOptions
	restore func()
}

// Open takes the terminal over: raw mode, the top row, the window's title. Close gives it back.
func Open(tty *os.File, o ConsoleOptions) (*Console, error) {
	restore, err := raw(tty)
	if err != nil {
		return nil, err
	}
	return &Console{tty: tty, o: o, restore: restore}, nil
}

// Close gives the terminal back as it was found. It may be called at any time, more than once.
func (c *Console) Close() error {
	c.restore()
	return nil
}

// SetStatus changes what the banner and the window's title say.
func (c *Console) SetStatus(Status) {}

// Run shows a program until it ends, the person leaves it, or ctx ends. It may be called again, with another program or a
// new connection.
func (c *Console) Run(ctx context.Context, p Program) (RunResult, error) {
	exit, err := p.Guest.PTY(ctx, p.Cmd, guest.Terminal{In: c.tty, Out: c.tty, Term: c.o.Term})
	return RunResult{Exit: exit}, err
}

// Attach shows an agent until it ends, the person leaves it, or ctx ends.
func (c *Console) Attach(ctx context.Context, g Guest, o Options) (Outcome, error) {
	return Attach(ctx, g, c.tty, o)
}

// Await calls wait while no program is shown, and says in the banner for what and how long. The person gives up with Ctrl-C:
// the context of wait ends then, and ErrGivenUp is returned. The closed terminal is ErrHangup.
func (c *Console) Await(ctx context.Context, what string, wait func(ctx context.Context) error) error {
	return wait(ctx)
}
