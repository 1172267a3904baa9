// Package session is one terminal attached to an agent in a guest: the launch confirmation, then the agent on a real
// pseudo-terminal inside a guest tmux, so that closing the window does not end it.
//
// What must hold: the terminal is given back as it was found, whatever happens; the exit code is the agent's own; text
// from the guest that CALMenu itself prints is stripped of everything that acts on a terminal; what is typed reaches the
// agent whole and in order, and what is typed after the session is left for the shell.
//
// A Console is the screen: banner on the top row (package topline), prefix key, bar of hotkeys, dialogs. While a dialog is
// open the agent's output is held back, up to a limit; then the agent waits.
package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/guest"
)

// tmuxConf makes tmux as invisible as it can be: the agent should feel local.
const tmuxConf = `set -g status off
set -g prefix None
unbind-key -a
set -s escape-time 0
set -g default-terminal tmux-256color
set -as terminal-features ',*:RGB:clipboard:hyperlinks:sync:title'
set -g allow-passthrough on
set -g set-clipboard on
set -g set-titles on
set -g set-titles-string '#T'
set -g mouse off
set -g focus-events on
set -g history-limit 50000
set -g window-size latest
set -s extended-keys on
set -g update-environment ''
set -g remain-on-exit off
set -s user-keys[0] "\e[5;30012~"
bind-key -n User0 refresh-client
set -g bell-action any`

// startScript attaches to the agent's tmux session, or starts it. $1 names the session, $2 this terminal; the rest is the
// agent's argv. The agent's exit code goes to a file, since tmux keeps it to itself; who ends the agent with Ctrl-C does not
// end the shell that writes it. A terminal that cannot be cleared cannot show tmux: there the agent has the terminal to
// itself, and ends with it, whatever others of its name do; its file is this terminal's own. What tmux draws goes where its
// input comes from; its standard output has but a word at the end, such as "[exited]", that would stay on the person's screen.
const startScript = `umask 077
mkdir -p "$HOME/.cal/session" "$HOME/workspace" || exit 125
printf '%s\n' "$CAL_TMUX_CONF" >"$HOME/.cal/tmux.conf"
unset CAL_TMUX_CONF
infocmp "$TERM" >/dev/null 2>&1 || TERM=xterm-256color
export TERM
name=$1 own=$HOME/.cal/session/$2.own; shift 2
code="$HOME/.cal/session/$name.exit"
tmux -L cal has-session -t "=$name" 2>/dev/null || rm -f "$code"
run='trap : INT QUIT; code=$1; shift; "$@"; echo $? >"$code.new"; mv "$code.new" "$code"'
infocmp -1 "$TERM" | grep -q '^[[:space:]]clear=' || { cd "$HOME/workspace" && exec sh -c "$run" cal "$own" "$@"; }
exec tmux -L cal -f "$HOME/.cal/tmux.conf" new-session -A -s "$name" -c "$HOME/workspace" \
  sh -c "$run" cal "$code" "$@" >/dev/null`

// endScript says how the session stands: "alive", or the agent's exit code, or "unknown". Its arguments are startScript's.
const endScript = `own=$HOME/.cal/session/$2.own
[ -e "$own" ] && { cat "$own"; rm -f "$own"; exit; }
tmux -L cal has-session -t "=$1" 2>/dev/null && { echo alive; exit; }
cat "$HOME/.cal/session/$1.exit" 2>/dev/null || echo unknown`

// repaintKeys is a key no keyboard has. tmux draws the screen anew for whoever presses it, and the agent does not notice;
// a command in the guest would do the same a tenth of a second later.
const repaintKeys = "\x1b[5;30012~"

// Guest is what a session needs of the connection into the guest.
type Guest interface {
	PTY(ctx context.Context, c guest.Cmd, t guest.Terminal) (int, error)
	Output(ctx context.Context, c guest.Cmd) (guest.Result, error)
}

// Options say which agent is attached to which terminal.
type Options struct {
	Name string   // of the tmux session: the agent's identifier
	Argv []string // of the agent
	Env  map[string]string
	Term string // the terminal's TERM
}

// Outcome is how a session ended.
type Outcome struct {
	Detached bool // the agent still runs
	Exit     int  // the agent's exit code, unless it is detached or Lost
	Lost     bool // the agent ended without leaving an exit code: it was killed, or the machine was

	// What the person did in a Console's bar; the agent goes on unless the VM does not.
	SwitchTo   string // identifier of the agent to attach next
	Stopped    bool   // the VM was stopped
	RolledBack bool   // the VM was rolled back: connect anew
}

// program is the command that attaches to the agent, or starts it, on a terminal called so.
func (o Options) program(g Guest, terminal string) Program {
	env := map[string]string{"CAL_TMUX_CONF": tmuxConf, "TERM": o.Term}
	for k, v := range o.Env {
		env[k] = v
	}
	argv := append([]string{"sh", "-c", startScript, "cal", o.Name, terminal}, o.Argv...)
	return Program{Guest: g, Cmd: guest.Cmd{Argv: argv, Env: env}, RepaintKeys: repaintKeys}
}

// Attach shows an agent until it ends, the person leaves it, the terminal is closed, or ctx ends. Closing the window
// detaches; the agent lives on in tmux.
func (c *Console) Attach(ctx context.Context, g Guest, o Options) (Outcome, error) {
	terminal := rand.Text()
	r, err := c.Run(ctx, o.program(g, terminal))
	switch {
	case err != nil:
		return Outcome{}, fmt.Errorf("running the agent: %w", err)
	case r.Detach, r.SwitchTo != "", r.Stop, r.RolledBack:
		return Outcome{Detached: true, SwitchTo: r.SwitchTo, Stopped: r.Stop, RolledBack: r.RolledBack}, nil
	}
	return outcome(ctx, g, o.Name, terminal)
}

// RunPTY runs a command on a terminal of its own that mirrors tty: its size follows, its keys go through raw. tty is
// given back as it was before RunPTY returns; what is typed from then on is not read.
func RunPTY(ctx context.Context, g Guest, tty *os.File, cmd guest.Cmd) (int, error) {
	restore, err := raw(tty)
	if err != nil {
		return -1, err
	}
	defer restore()
	typed, err := startReader(tty)
	if err != nil {
		return -1, err
	}
	defer typed.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	defer signal.Stop(winch)
	resized := make(chan struct{}, 1)
	in := newInbox()
	defer in.shut()
	go func() {
		for {
			select {
			case b := <-typed.chunks:
				in.put(ctx, b.data)
			case <-typed.ended: // the terminal is gone
				cancel()
				return
			case <-winch:
				signalTo(resized)
			case <-ctx.Done():
				return
			}
		}
	}()
	name := cmd.Env["TERM"]
	if name == "" {
		name = "xterm-256color"
	}
	return g.PTY(ctx, cmd, guest.Terminal{
		In: in, Out: tty, Term: name, Resized: resized,
		Size: func() (int, int) {
			w, h, err := term.GetSize(int(tty.Fd()))
			if err != nil {
				return 80, 24
			}
			return w, h
		},
	})
}

func outcome(ctx context.Context, g Guest, name, terminal string) (Outcome, error) {
	res, err := g.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", endScript, "cal", name, terminal}, Limit: 256})
	if err != nil {
		return Outcome{}, fmt.Errorf("asking how the agent ended: %w", err)
	}
	said := strings.TrimSpace(string(res.Stdout))
	if said == "alive" {
		return Outcome{Detached: true}, nil
	}
	code, err := strconv.Atoi(said)
	if err != nil || code < 0 || code > 255 {
		return Outcome{Lost: true}, nil
	}
	return Outcome{Exit: code}, nil
}

// leave undoes what a program killed in full swing leaves switched on: alternate screen, hidden cursor, mouse reports,
// bracketed paste, focus reports, application keypad, colours.
const leave = "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?25h\x1b[?1l\x1b>\x1b[0m"

// raw switches a terminal to raw mode and returns the function that gives it back.
func raw(tty *os.File) (func(), error) {
	old, err := term.MakeRaw(int(tty.Fd()))
	if err != nil {
		return nil, fmt.Errorf("switching the terminal to raw mode: %w", err)
	}
	return func() {
		_, _ = io.WriteString(tty, leave)
		_ = term.Restore(int(tty.Fd()), old)
	}, nil
}

// Running tells whether the agent of that name is at work in the guest.
func Running(ctx context.Context, g Guest, name string) (bool, error) {
	res, err := g.Output(ctx, guest.Cmd{Argv: []string{"tmux", "-L", "cal", "has-session", "-t", "=" + name}, Limit: 4096})
	if err != nil {
		return false, fmt.Errorf("looking for a running session: %w", err)
	}
	return res.Exit == 0, nil
}

// listSessions names the tmux sessions there are; where no server runs there are none. A server has a socket (tmux(1), -L):
// without one tmux itself, which takes an emulated guest longer to start than all of this, need not be asked.
const listSessions = `for s in "${TMUX_TMPDIR:-/tmp}"/tmux-*/cal; do
	[ -O "$s" ] && exec tmux -L cal list-sessions -F '#{session_name}'
done
exit 0`

// Sessions tells which agents are at work in the guest, by the names of their sessions.
func Sessions(ctx context.Context, g Guest) (map[string]bool, error) {
	res, err := g.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", listSessions}, Early: true, Limit: 16 << 10})
	if err != nil {
		return nil, fmt.Errorf("looking for running sessions: %w", err)
	}
	names := map[string]bool{}
	for name := range strings.FieldsSeq(string(res.Stdout)) {
		names[name] = true
	}
	return names, nil
}
