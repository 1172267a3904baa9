package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
)

// ErrNoArtifact is returned if no artifact has the name asked for.
var ErrNoArtifact = errors.New("there is no such artifact")

// Artifacts lists what has landed of a workspace, newest first.
func (a *App) Artifacts(name string) ([]outbox.Artifact, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return nil, err
	}
	return outbox.ReadManifest(a.outboxState(w.Name))
}

// RefusedArtifacts lists what did not land, newest first.
func (a *App) RefusedArtifacts(name string) ([]outbox.Refused, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return nil, err
	}
	return outbox.ReadRefusals(a.outboxState(w.Name))
}

// Artifact finds the latest version of an artifact by its name, its path on the host, or the last element of its name if
// only one has that.
func (a *App) Artifact(name, wanted string) (outbox.Artifact, error) {
	all, err := a.Artifacts(name)
	if err != nil {
		return outbox.Artifact{}, err
	}
	seen := map[string]bool{}
	var near []outbox.Artifact
	for _, x := range all { // newest first
		if seen[x.Name] {
			continue
		}
		seen[x.Name] = true
		switch {
		case x.Name == wanted, x.Path == wanted:
			return x, nil
		case path.Base(x.Name) == wanted:
			near = append(near, x)
		}
	}
	if len(near) == 1 {
		return near[0], nil
	}
	advice := "CALMenu artifacts lists them."
	if len(near) > 1 {
		advice = fmt.Sprintf("Say which: %s or %s.", near[0].Name, near[1].Name)
	} else if best := config.Nearest(wanted, keys(seen)); best != "" {
		advice = fmt.Sprintf("Did you mean %s? %s", best, advice)
	}
	return outbox.Artifact{}, hint.Wrap(fmt.Errorf("looking for the artifact %q: %w", wanted, ErrNoArtifact), advice)
}

func keys(m map[string]bool) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	return all
}

// Verified is what became of the artifacts since they landed.
type Verified struct {
	Checked    int               `json:"checked"`
	Mismatches []outbox.Mismatch `json:"mismatches"`
}

// VerifyArtifacts hashes a workspace's artifacts again and compares them with what is recorded.
func (a *App) VerifyArtifacts(ctx context.Context, name string) (Verified, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return Verified{}, err
	}
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return Verified{}, err
	}
	all, err := outbox.ReadManifest(o.State)
	if err != nil {
		return Verified{}, err
	}
	names := map[string]bool{}
	for _, x := range all {
		names[x.Name] = true
	}
	bad, err := outbox.Verify(o)
	if bad == nil {
		bad = []outbox.Mismatch{}
	}
	return Verified{Checked: len(names), Mismatches: bad}, err
}

// PruneArtifacts drops earlier versions of a workspace's artifacts.
func (a *App) PruneArtifacts(ctx context.Context, name string, p outbox.PruneOptions) ([]outbox.Pruned, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return nil, err
	}
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return nil, err
	}
	return outbox.Prune(ctx, o, p)
}

// ErrRuns is returned for an artifact that would run when it is opened, as far as that could be seen.
var ErrRuns = errors.New("it is not opened by itself")

// MayOpen returns an error if opening an artifact may run something, or if it is no longer what landed.
func (a *App) MayOpen(ctx context.Context, x outbox.Artifact) error {
	w, err := a.Workspace(x.Workspace)
	if err != nil {
		return err
	}
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return err
	}
	if err := outbox.Unchanged(o, x); err != nil {
		return hint.Wrap(fmt.Errorf("opening %s: it %w: %w", x.Name, err, ErrRuns),
			"CALMenu artifacts verify shows what is not as it landed; --yes opens it all the same.")
	}
	if len(x.Warnings) > 0 {
		return hint.Wrap(fmt.Errorf("opening %s: it %s: %w", x.Name, strings.Join(x.Warnings, ", and "), ErrRuns),
			"CALMenu artifacts reveal shows it in its folder; --yes opens it all the same.")
	}
	return nil
}

// builtIn tells which repository of a guest was worked in last.
func (a *App) builtIn(w *config.Workspace, g github.Guest) func(context.Context) outbox.Build {
	return func(ctx context.Context) outbox.Build {
		heads, err := github.Heads(ctx, g)
		if err != nil {
			a.Log.Info().Str("workspace", w.Name).Err(err).Msg("looking what an artifact was built from")
			return outbox.Build{}
		}
		for _, h := range heads {
			if h.Recent || len(heads) == 1 {
				return outbox.Build{Repository: h.Path, Commit: h.Commit}
			}
		}
		return outbox.Build{}
	}
}

// openOutbox returns what a workspace's outbox is brought in by and with. The transport is to be closed. It connects when it
// has to.
func (a *App) openOutbox(
	ctx context.Context, w *config.Workspace, connect func(context.Context) (*guest.Client, error),
) (outbox.Transport, outbox.Options, error) {
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return nil, o, err
	}
	o.Built = func(ctx context.Context) outbox.Build {
		c, err := connect(ctx)
		if err != nil {
			return outbox.Build{}
		}
		return a.builtIn(w, c)(ctx)
	}
	staging, err := a.sharedNow(ctx, w)
	if err != nil {
		return nil, o, err
	}
	if staging == "" {
		o.Origin = "ssh"
		return outbox.Later(func(ctx context.Context) (outbox.Transport, error) {
			c, err := connect(ctx)
			if err != nil {
				return nil, err
			}
			t, err := outbox.OverSSH(ctx, c, o)
			if err != nil {
				return nil, err
			}
			if c.Borrowed() {
				t = outbox.WithAside(t, outbox.OwnConnection(func(ctx context.Context) (outbox.Transport, error) {
					return a.ownOutbox(ctx, w, o)
				}))
			}
			if d, ok := a.Driver.(vm.SerialDialer); ok {
				t = outbox.WithAside(t, outbox.SerialPort(c, o, func(ctx context.Context) (net.Conn, error) {
					return d.DialSerial(ctx, w.Name, vm.OutboxPort)
				}))
			}
			return t, nil
		}), o, nil
	}
	o.Origin = "share"
	t, err := outbox.OverShare(staging, o)
	return t, o, err
}

// ownOutbox is a transport over a connection of its own, which ends with it.
func (a *App) ownOutbox(ctx context.Context, w *config.Workspace, o outbox.Options) (outbox.Transport, error) {
	c, err := a.Connect(ctx, w)
	if err != nil {
		return nil, err
	}
	t, err := outbox.OverSSH(ctx, c, o)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return ownTransport{t, c}, nil
}

type ownTransport struct {
	outbox.Transport
	c *guest.Client
}

func (t ownTransport) Close() error { return errors.Join(t.Transport.Close(), t.c.Close()) }
