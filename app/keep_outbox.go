package app

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/journal"
	outbox "github.com/calmenu/calmenu/internal/sync"
)

// outboxEvery is how soon a change of the outbox's settings is in force.
const outboxEvery = time.Second

// outbox brings in what the guest puts into its outbox, by the settings as they are.
func (k *keeper) outbox(ctx context.Context, c *guest.Client) error {
	w := k.w
	for {
		if now, err := k.Workspace(k.w.Name); err == nil { // or followOutbox says why not, and the last ones hold
			w = now
		}
		same, changed := context.WithCancel(ctx)
		go k.followOutbox(same, w.Outbox, changed)
		err := k.outboxBy(same, w, c)
		again := same.Err() != nil && ctx.Err() == nil
		changed()
		if !again {
			return err
		}
		k.Log.Info().Str("workspace", k.w.Name).Msg("the outbox's settings have changed")
	}
}

// followOutbox calls changed when the outbox's settings are others, unless ctx ends before. While they cannot be read, the last
// ones hold.
func (k *keeper) followOutbox(ctx context.Context, was config.OutboxSettings, changed func()) {
	ticker := time.NewTicker(outboxEvery)
	defer ticker.Stop()
	var looked [2]fileStamp
	for {
		if now := [2]fileStamp{stampOf(k.Home.ConfigFile()), stampOf(k.Home.VMFile(k.w.Name))}; now != looked {
			looked = now
			err := k.Reload()
			w, werr := k.Workspace(k.w.Name)
			if err = errors.Join(err, werr); err != nil {
				k.Log.Warn().Str("workspace", k.w.Name).Err(err).Msg("the outbox's settings cannot be read; the last ones hold")
			} else if !reflect.DeepEqual(w.Outbox, was) {
				changed()
				return
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// outboxBy brings in until ctx ends.
func (k *keeper) outboxBy(ctx context.Context, w *config.Workspace, c *guest.Client) error {
	t, o, err := k.openOutbox(ctx, w, func(context.Context) (*guest.Client, error) { return c, nil })
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	err = outbox.Watch(ctx, t, o, func(r outbox.Report) {
		if err := k.recordReport(k.w.Name, r); err != nil {
			k.Log.Warn().Err(err).Msg("journaling what landed")
		}
		k.after.add(r.Landed)
		if k.hooks.Landed != nil && len(r.Landed)+len(r.Refused) > 0 {
			k.hooks.Landed(k.w, r)
		}
	}, k.inFlight(k.w.Name))
	if err != nil && ctx.Err() == nil {
		k.outboxFailed(err)
	}
	return err
}

// outboxFailed journals, once for each reason, that nothing lands: a full disk is a person's affair.
func (k *keeper) outboxFailed(err error) {
	if hint.Of(err) == "" || k.lastOutboxError == err.Error() {
		return
	}
	k.lastOutboxError = err.Error()
	e := journal.Event{
		Kind: journal.OutboxFailed, Workspace: k.w.Name, Error: err.Error(), Hint: hint.Of(err),
	}
	if err := k.Journal.Append(e); err != nil {
		k.Log.Warn().Err(err).Msg("journaling that the outbox failed")
	}
	if k.hooks.OutboxFailed != nil {
		k.hooks.OutboxFailed(k.w, err)
	}
}

// runAfter runs the hooks on what has landed.
func (k *keeper) runAfter(ctx context.Context, landed []outbox.Artifact) {
	failed, err := k.runHooks(ctx, k.w, landed)
	if err != nil {
		k.Log.Warn().Err(err).Msg("hooks")
	}
	if k.hooks.HookFailed == nil {
		return
	}
	for _, f := range failed {
		k.hooks.HookFailed(k.w, f)
	}
}
