package app

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
)

// watchScript looks at the agents' tmux server every $1 seconds and prints what it sees, a window a line and then a line
// "."; a single "." at the beginning and whenever the server has gone, and nothing more while there is none. It runs for
// as long as the connection, so that the host starts nothing and waits for nothing but its output. Tabs separate: the
// title, which is the agent's, is last.
const watchScript = `socket=${TMUX_TMPDIR:-/tmp}/tmux-$(id -u)/cal
tab=$(printf '\t')
format="#{session_name}$tab#{session_attached}$tab#{window_bell_flag}$tab#{window_activity}$tab#{host}$tab#{pane_title}"
said=nothing
while :; do
  now=
  [ -S "$socket" ] && now=$(tmux -L cal list-windows -a -F "$format" 2>/dev/null | head -n 32 | cut -c 1-400)
  [ -n "$now$said" ] && { printf '%s\n.\n' "$now" || exit; }
  said=$now
  sleep "$1" || exit
done`

const (
	// watchEvery is how often the guest looks, and how often at most what it says is listened to.
	watchEvery = 10 * time.Second
	// watchLine bounds a line of what the guest says, watchLines their number in one look, and waitingDetail what an agent
	// is quoted with, in characters.
	watchLine     = 2 << 10
	watchLines    = 64
	waitingDetail = 120
)

// agents watches the agents no terminal is attached to: they go on in the guest, and nobody else would tell that one of
// them waits for a person.
func (k *keeper) agents(ctx context.Context, c *guest.Client) error {
	return k.watchAgents(ctx, c, watchEvery)
}

func (k *keeper) watchAgents(ctx context.Context, c *guest.Client, every time.Duration) error {
	w := &k.alone
	w.quiet = k.w.Session.QuietAfter
	w.known = func(id string) bool { _, err := k.Agents().Get(id); return err == nil }
	w.tell = func(kind journal.Kind, agent, detail string) {
		e := journal.Event{Kind: kind, Workspace: k.w.Name, Agent: agent, Detail: detail}
		if err := k.Journal.Append(e); err != nil {
			k.Log.Warn().Str("workspace", k.w.Name).Err(err).Msg("journaling a waiting agent")
		}
	}
	// A guest that talks without end is not listened to more often than an honest one would talk.
	last := time.Time{}
	lines := &lookReader{look: func(seen []agentWindow) {
		now := time.Now()
		if !last.IsZero() && now.Sub(last) < every/2 {
			return
		}
		last = now
		w.look(now, seen)
	}}
	seconds := strconv.FormatFloat(every.Seconds(), 'f', -1, 64)
	_, err := c.Stream(ctx, guest.Cmd{Argv: []string{"sh", "-c", watchScript, "cal", seconds}}, lines, nil)
	if err == nil {
		err = errors.New("the watch in the guest ended by itself")
	}
	return err
}

// agentWindow is an agent's tmux window as the guest reports it.
type agentWindow struct {
	agent    string
	attached bool
	bell     bool  // it rang since a terminal was attached
	activity int64 // when it printed last, in seconds of the guest's clock
	title    string
}

// parseWindow reads one line of watchScript's. Lines that are none are no windows.
func parseWindow(line string) (agentWindow, bool) {
	f := strings.SplitN(line, "\t", 6)
	if len(f) != 6 {
		return agentWindow{}, false
	}
	attached, err1 := strconv.Atoi(f[1])
	activity, err2 := strconv.ParseInt(f[3], 10, 64)
	if err1 != nil || err2 != nil || f[0] == "" {
		return agentWindow{}, false
	}
	w := agentWindow{agent: f[0], attached: attached > 0, bell: f[2] == "1", activity: activity}
	if f[5] != f[4] { // tmux calls a window after the host until the agent gives it a title
		w.title = session.Printable(f[5])
		if r := []rune(w.title); len(r) > waitingDetail {
			w.title = string(r[:waitingDetail])
		}
	}
	return w, true
}

// lookReader collects the lines of one look and hands them on.
type lookReader struct {
	look func([]agentWindow)
	rest []byte
	seen []agentWindow
}

func (r *lookReader) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, after, whole := bytes.Cut(b, []byte{'\n'})
		r.rest = append(r.rest, line[:min(len(line), watchLine-len(r.rest))]...)
		if !whole {
			return n, nil
		}
		r.line(string(r.rest))
		r.rest, b = r.rest[:0], after
	}
}

func (r *lookReader) line(line string) {
	if line == "." {
		r.look(r.seen)
		r.seen = nil
		return
	}
	if w, ok := parseWindow(line); ok && len(r.seen) < watchLines {
		r.seen = append(r.seen, w)
	}
}

// detachedAgents decides which of the agents without a terminal wait: one that rang, or that fell silent after work.
type detachedAgents struct {
	quiet time.Duration
	known func(agent string) bool
	tell  func(kind journal.Kind, agent, detail string)

	agents map[string]*detachedAgent
}

type detachedAgent struct {
	activity int64
	changed  time.Time // when activity was seen to change last, by the host's clock
	worked   bool      // it printed since it was left alone, or since its last wait ended
	bell     bool
	waiting  bool
	busy     int // looks in a row at which a waiting agent had printed more
}

// goneOn is at how many looks in a row a waiting agent must have printed more to count as at work again: an agent draws a
// little after it has rung.
const goneOn = 3

func (d *detachedAgents) look(now time.Time, seen []agentWindow) {
	left := map[string]*detachedAgent{}
	for _, w := range seen {
		if !d.known(w.agent) || left[w.agent] != nil {
			continue
		}
		a := d.agents[w.agent]
		if w.attached {
			d.end(w.agent, a) // whoever sits there sees it, and the session's own process tells of it
			continue
		}
		if a == nil {
			a = &detachedAgent{activity: w.activity, changed: now}
		}
		d.step(now, w, a)
		left[w.agent] = a
	}
	for agent, a := range d.agents {
		if left[agent] == nil {
			d.end(agent, a)
		}
	}
	d.agents = left
}

func (d *detachedAgents) end(agent string, a *detachedAgent) {
	if a != nil && a.waiting {
		a.waiting = false
		d.tell(journal.SessionActive, agent, "")
	}
}

func (d *detachedAgents) step(now time.Time, w agentWindow, a *detachedAgent) {
	printed := w.activity != a.activity
	if printed {
		a.activity, a.changed = w.activity, now
	}
	rang := w.bell && !a.bell
	a.bell = w.bell
	if !a.waiting {
		a.worked = a.worked || printed
		if rang || a.worked && now.Sub(a.changed) >= d.quiet {
			a.waiting, a.worked, a.busy = true, false, 0
			d.tell(journal.SessionWaiting, w.agent, w.title)
		}
		return
	}
	if a.busy++; !printed {
		a.busy = 0
	}
	if a.busy >= goneOn {
		a.worked = true
		d.end(w.agent, a)
	}
}
