package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/changes"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// Preview is what a rollback to a snapshot would undo.
type Preview struct {
	Workspace string            `json:"workspace"`
	Snapshot  snapshot.Snapshot `json:"snapshot"`
	Time      time.Time         `json:"time"` // when it was looked, by the host's clock
	Running   bool              `json:"running"`
	// Changes are what the running guest says changed since the snapshot; nil if it could not be asked.
	Changes *changes.Report `json:"changes,omitempty"`
	// Unknown says why there are no Changes.
	Unknown string `json:"unknown,omitempty"`
	// DiskAtMost bounds what a stopped machine can have written since, in bytes: its disk without what only snapshots
	// hold.
	DiskAtMost int64 `json:"disk_at_most,omitempty"`
	// Agents are at work in the guest, and end with a rollback unless the snapshot holds memory.
	Agents []PreviewAgent `json:"agents"`
}

// PreviewAgent is an agent at work.
type PreviewAgent struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Attached bool   `json:"attached"` // a terminal is attached to it
	Waiting  bool   `json:"waiting"`  // it waits for a person
}

// Preview tells what a rollback of a workspace to a snapshot (by name or identifier; empty: the newest) would undo. A
// machine that does not run is not started for it, and a guest that cannot be asked is no error: both are Unknown.
func (a *App) Preview(ctx context.Context, name, ref string) (Preview, error) {
	return a.previewOver(ctx, nil, name, ref)
}

// previewOver is Preview over a connection there is already; nil makes one.
func (a *App) previewOver(ctx context.Context, c *guest.Client, name, ref string) (Preview, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Workspace: w.Name, Time: time.Now(), Agents: []PreviewAgent{}}
	if p.Snapshot, err = a.catalog(w.Name).Find(ctx, ref); err != nil {
		return p, err
	}
	m, err := a.Driver.Machine(ctx, w.Name)
	if err != nil {
		return p, fmt.Errorf("looking what changed in %q: %w", w.Name, err)
	}
	if p.Running = m.Running; !m.Running {
		p.Unknown = "the VM does not run"
		p.DiskAtMost, err = a.diskAtMost(ctx, w, m)
		return p, err
	}
	go a.learnHelper()
	known, err := a.State(ctx)
	if err != nil {
		return p, err
	}
	ws, _ := known.Find(w.Name)
	dialing, cancel := context.WithTimeout(ctx, a.previewTime())
	defer cancel()
	c, done, err := a.borrow(dialing, c, w)
	if err == nil {
		defer done()
	}
	var atWork map[string]bool
	if err == nil {
		atWork, err = a.askChanges(ctx, c, &p)
	}
	p.Agents = a.previewAgents(ws, atWork)
	if err == nil {
		return p, nil
	}
	if cause := ctx.Err(); cause != nil {
		return p, fmt.Errorf("looking what changed in %q: %w", w.Name, context.Cause(ctx))
	}
	a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("looking what changed since a snapshot")
	p.Unknown = "the guest could not be asked"
	if errors.Is(err, vm.ErrNotRunning) { // it ended just now
		p.Running, p.Unknown = false, "the VM does not run"
	}
	return p, nil
}

// previewTime bounds the attempt to reach a guest that may be wrecked beyond answering, and then the search in it: an
// emulated one on a busy host is slow at both.
func (a *App) previewTime() time.Duration {
	if a.Driver.Info().Capabilities.Emulated {
		return time.Minute
	}
	return 10 * time.Second
}

// askChanges asks a guest what changed, and meanwhile which agents are at work. If those cannot be listed the
// changes are there all the same, and say so.
func (a *App) askChanges(ctx context.Context, c *guest.Client, p *Preview) (atWork map[string]bool, err error) {
	var agentsErr error
	var asking sync.WaitGroup
	listing, cancel := context.WithTimeout(ctx, a.previewTime())
	defer cancel()
	asking.Go(func() { atWork, agentsErr = session.Sessions(listing, c) })
	// What is found until then is told.
	r, err := changes.Scan(ctx, c, p.Snapshot.Created, changes.Limits{Timeout: a.previewTime()})
	asking.Wait()
	if err != nil {
		return atWork, err
	}
	if agentsErr != nil {
		r.Incomplete = true
		r.Reasons = append(r.Reasons, "the agents at work could not be listed")
	}
	p.Changes = &r
	return atWork, nil
}

// previewAgents puts together the agents with a terminal, which CALMenu knows, and those the guest says are at work:
// its word counts for agents there are.
func (a *App) previewAgents(ws state.Workspace, atWork map[string]bool) []PreviewAgent {
	list := []PreviewAgent{}
	for _, ag := range a.Agents() {
		attached := slices.ContainsFunc(ws.Sessions, func(s state.Session) bool { return s.Agent == ag.ID })
		if attached || atWork[ag.ID] {
			_, waiting := ws.WaitOf(ag.ID)
			list = append(list, PreviewAgent{ID: ag.ID, Name: ag.Name, Attached: attached, Waiting: waiting})
		}
	}
	return list
}

// diskAtMost bounds what a stopped machine holds that no snapshot does.
func (a *App) diskAtMost(ctx context.Context, w *config.Workspace, m vm.Machine) (int64, error) {
	list, err := a.catalog(w.Name).List(ctx)
	if err != nil {
		return 0, err
	}
	n := m.DiskBytes
	for _, s := range list {
		n -= max(0, s.SizeBytes)
	}
	return max(0, n), nil
}

// Lines tells a person what a rollback would undo. No line takes more columns than width, and all are safe to print.
func (p Preview) Lines(width int) []string {
	var lines []string
	say := func(format string, args ...any) {
		lines = append(lines, changes.Fit(fmt.Sprintf(format, args...), width))
	}
	age := "just now"
	if d := p.Time.Sub(p.Snapshot.Created); d >= time.Second {
		age = humanize.RelTime(p.Snapshot.Created, p.Time, "ago", "")
	}
	since := fmt.Sprintf("%q was taken %s", p.Snapshot.Name, age)
	switch {
	case p.Changes == nil && !p.Running:
		say("%s. What changed since is not known, as %s.", since, p.Unknown)
		if p.DiskAtMost > 0 {
			say("At most %s were written since.", humanize.Bytes(uint64(p.DiskAtMost)))
		}
	case p.Changes == nil:
		say("%s. What changed since is not known: %s.", since, p.Unknown)
	case p.Changes.None():
		say("%s. Nothing of note changed since.", since)
		lines = append(lines, p.Changes.Lines(width)...)
	default:
		say("%s. A rollback would undo:", since)
		for _, l := range p.Changes.Lines(max(0, width-2)) {
			lines = append(lines, "  "+l)
		}
	}
	if len(p.Agents) > 0 {
		names := make([]string, 0, len(p.Agents))
		for _, ag := range p.Agents {
			text := ag.Name
			if ag.Waiting {
				text += " (waits for you)"
			}
			names = append(names, text)
		}
		say("At work in it: %s", strings.Join(names, ", "))
	}
	return lines
}
