package app

import (
	"context"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/journal"
	outbox "github.com/calmenu/calmenu/internal/sync"
)

// outbox brings in what the guest puts into its outbox.
func (k *keeper) outbox(ctx context.Context, c *guest.Client) error {
	t, o, err := k.openOutbox(ctx, k.w, func(context.Context) (*guest.Client, error) { return c, nil })
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
