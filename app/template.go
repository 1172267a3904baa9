package app

import (
	"context"
	"errors"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/vm"
)

// templateAfter is how long a workspace is left alone after its start before a template is made beside it: that takes as
// much of the computer as a boot does.
const templateAfter = time.Minute

func (a *App) spec(w *config.Workspace) vm.Spec {
	return vm.Spec{
		Name: w.Name, Image: a.image(w), CPU: w.VM.CPU, MemoryMiB: w.VM.MemoryMB, DiskGiB: w.VM.DiskGB,
	}
}

// makeTemplate makes the template that new workspaces like this one start from, once, where the driver has such a thing.
func (a *App) makeTemplate(ctx context.Context, w *config.Workspace) {
	t, ok := a.Driver.(vm.Templater)
	if !ok || w.VM.Template == "off" {
		return
	}
	if ready, err := t.TemplateReady(ctx, a.spec(w)); err != nil || ready {
		return
	}
	select {
	case <-time.After(templateAfter):
	case <-ctx.Done():
		return
	}
	err := t.EnsureTemplate(ctx, a.spec(w), nil)
	switch {
	case err == nil:
		a.Log.Info().Str("workspace", w.Name).Msg("new workspaces like it start from a template")
	case errors.Is(err, vm.ErrUnsupported), errors.Is(err, vm.ErrNoImage), ctx.Err() != nil:
	default:
		a.Log.Warn().Str("workspace", w.Name).Err(err).Msg("making a template")
	}
}
