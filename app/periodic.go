package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// activityScript prints the guest's time and then, a line each, the agents' windows and when they printed last, in
// seconds of the same clock. Where no agent is at work it prints the time alone.
const activityScript = `date +%s
tmux -L cal list-windows -a -F '#{window_activity} #{session_name}' 2>/dev/null | head -n 32 || :`

const (
	activityLimit = 8 << 10          // bytes that are read of the script's output
	activityTime  = 20 * time.Second // that it may take
	// periodicLook is how soon a look is repeated that found nothing to take: an agent may begin at any time.
	periodicLook = time.Minute
)

// KeepPeriodic takes a snapshot of a running workspace every so many minutes (snapshots.periodic_minutes) while an agent
// is at work in it, over the keeper's connection, until ctx ends. It takes none where no agent has printed anything since
// the last automatic one, nor where the host's disk has no room to spare, nor where the machine would have to be stopped
// for it. It returns at once, with nil, where periodic snapshots are off.
func (a *App) KeepPeriodic(ctx context.Context, w *config.Workspace, c *guest.Client) error {
	every := time.Duration(w.Snapshots.PeriodicMinutes) * time.Minute
	if every <= 0 {
		return nil
	}
	for {
		wait, err := a.periodic(ctx, w, c, every)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// periodic takes a snapshot if one is due, and returns when to look again.
func (a *App) periodic(
	ctx context.Context, w *config.Workspace, c *guest.Client, every time.Duration,
) (wait time.Duration, err error) {
	list, err := a.catalog(w.Name).List(ctx)
	if err != nil {
		return 0, err
	}
	// What counts is the clock of the last one, whichever process or connection it was taken by.
	since := time.Duration(-1)
	if i := slices.IndexFunc(list, automaticPast); i >= 0 {
		since = max(0, time.Since(list[i].Created))
	}
	if since >= 0 && since < every {
		return every - since, nil
	}
	seen, err := lookAtActivity(ctx, c)
	if err != nil {
		return 0, err
	}
	agent, ok := a.atWork(seen)
	if !ok || since >= 0 && seen.silent > since {
		return min(every, periodicLook), nil
	}
	s := snapshot.Snapshot{
		Kind: snapshot.Periodic, Agent: agent,
		Reason: fmt.Sprintf("every %d minutes while %s is at work", w.Snapshots.PeriodicMinutes, agent),
	}
	m, err := a.Driver.Machine(ctx, w.Name)
	if err != nil {
		return 0, fmt.Errorf("taking a periodic snapshot of %q: %w", w.Name, err)
	}
	var may bool
	if s.Mode, may = periodicMode(a.Driver.Info().Capabilities, w.Snapshots.Mode, m); !may {
		a.Log.Info().Str("workspace", w.Name).Str("reason", m.Warm.Reason).Msg("no periodic snapshot: it would stop the machine")
		return every, nil
	}
	if warning := a.DiskWarning(); warning != "" {
		a.Log.Warn().Str("workspace", w.Name).Str("reason", warning).Msg("no periodic snapshot")
		return every, nil
	}
	if err := a.takePeriodic(ctx, w, s); err != nil {
		// It is journaled. To try again at once would make the same failure of every second.
		a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("taking a periodic snapshot")
	}
	return every, nil
}

// periodicTime bounds a snapshot that suspends the machine and resumes it.
const periodicTime = 10 * time.Minute

func (a *App) takePeriodic(ctx context.Context, w *config.Workspace, s snapshot.Snapshot) error {
	if caps := a.Driver.Info().Capabilities; !caps.LiveSnapshot && !caps.LiveWarmSnapshot {
		// The connection this is kept over, and ctx with it, ends when the machine is suspended. It is resumed all the same.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), periodicTime)
		defer cancel()
	}
	if _, err := a.TakeSnapshot(ctx, w.Name, s, nil); err != nil {
		return err
	}
	_, err := a.applyRetention(ctx, w, nil)
	return err
}

// automaticPast tells whether a snapshot is one that the next periodic one follows.
func automaticPast(s snapshot.Snapshot) bool {
	return s.Kind == snapshot.Session || s.Kind == snapshot.Periodic
}

// periodicMode is how a snapshot is taken that nobody asked for at this moment: never so that the machine is shut down.
func periodicMode(caps vm.Capabilities, configured string, m vm.Machine) (mode string, may bool) {
	switch {
	case caps.LiveSnapshot:
		return "", true // as configured: what fails with memory is taken without
	case configured != snapshot.ModeCold && m.Warm.OK:
		return snapshot.ModeWarm, true
	}
	return "", false
}

// activity is what the guest says of its agents. It is the guest's word: at worst a snapshot is taken too often, or not.
type activity struct {
	silent time.Duration // since an agent printed last
	names  []string      // of the agents' sessions
}

func lookAtActivity(ctx context.Context, c *guest.Client) (activity, error) {
	ctx, cancel := context.WithTimeout(ctx, activityTime)
	defer cancel()
	r, err := c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", activityScript}, Limit: activityLimit})
	if err != nil && !errors.Is(err, guest.ErrLimit) {
		return activity{}, fmt.Errorf("looking for agents at work: %w", err)
	}
	return parseActivity(string(r.Stdout)), nil
}

// parseActivity reads what activityScript prints. Lines that are none of its say nothing.
func parseActivity(text string) activity {
	first, rest, _ := strings.Cut(text, "\n")
	now, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return activity{}
	}
	var a activity
	last := int64(0)
	for line := range strings.Lines(rest) {
		at, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		printed, err := strconv.ParseInt(at, 10, 64)
		if !ok || err != nil || name == "" || printed < 0 {
			continue
		}
		last = max(last, printed)
		a.names = append(a.names, name)
	}
	const most = int64(10 * 365 * 24 * time.Hour / time.Second)
	if silent := now - last; silent > 0 && now > 0 {
		a.silent = time.Duration(min(silent, most)) * time.Second
	}
	return a
}

// atWork returns the agent that a snapshot is taken for: one of those in the guest that this host knows.
func (a *App) atWork(seen activity) (string, bool) {
	for _, name := range seen.names {
		if ag, err := a.Agents().Get(name); err == nil {
			return ag.ID, true
		}
	}
	return "", false
}
