package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/app/shell"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

// Doctor lists what CALMenu needs of this machine, each with its state and what to do: the driver's own requirements, the
// base image, the desktop, the setup of the guests that run, what a crash may have left.
func (a *App) Doctor(ctx context.Context) []vm.Requirement {
	found := a.Driver.Requirements(ctx)
	ready, err := a.Driver.ImageReady(ctx, a.Driver.DefaultImage())
	image := vm.Requirement{Name: "base image", OK: ready, Optional: true, Detail: "ready: " + a.Driver.DefaultImage()}
	switch {
	case err != nil:
		image.Detail = err.Error()
	case !ready:
		image.Detail, image.Hint = "not built yet", "It is made with the first workspace: CALMenu new demo"
	}
	found = append(found, image, a.deskRequirement(ctx), a.outputRequirement())
	found = append(found, shell.LoginRequirement(a.Config().UI.StartAtLogin))
	if r, ok := desktop.NotificationsAllowed(ctx); ok {
		found = append(found, vm.Requirement{Name: "notifications", OK: r.OK, Optional: true, Detail: r.Detail, Hint: r.Hint})
	}
	found = append(found, a.setups(ctx)...)
	return append(found, a.orphans(ctx)...)
}

func (a *App) deskRequirement(context.Context) vm.Requirement {
	d, why := desktop.Detect(os.Getenv)
	if d == nil {
		return vm.Requirement{
			Name: "desktop", Optional: true, Detail: why,
			Hint: "CALMenu works without one, headless: the command line does all the menu does.",
		}
	}
	defer func() { _ = d.Close() }()
	return vm.Requirement{Name: "desktop", OK: true, Optional: true, Detail: d.Name()}
}

func (a *App) outputRequirement() vm.Requirement {
	dir := a.Config().Output.SyncDir
	r := vm.Requirement{Name: "output folder", OK: true, Detail: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.OK, r.Detail = false, err.Error()
		r.Hint = "Make the folder writable, or set isolation.defaults.output.sync_dir in config.yaml."
	}
	return r
}

// orphans lists machines no workspace describes: a crash between two steps of new or delete can leave one.
func (a *App) orphans(ctx context.Context) []vm.Requirement {
	machines, err := a.Driver.Machines(ctx)
	if err != nil {
		return []vm.Requirement{{Name: "machines", Detail: err.Error()}}
	}
	names, err := a.Config().Workspaces()
	if err != nil {
		return []vm.Requirement{{Name: "workspaces", Detail: err.Error()}}
	}
	var found []vm.Requirement
	for _, m := range machines {
		if !slices.Contains(names, m.Name) {
			found = append(found, vm.Requirement{
				Name: "machine " + m.Name, Optional: true, Detail: "belongs to no workspace",
				Hint: "Remove it: CALMenu delete " + m.Name + " --yes",
			})
		}
	}
	return found
}

// ShowLog prints the journal, of one workspace if one is named, and after it the end of that guest's console. With follow
// it goes on until ctx ends.
func (a *App) ShowLog(ctx context.Context, name string, follow, asJSON bool, out io.Writer) error {
	if name != "" {
		if _, err := a.Workspace(name); err != nil {
			return err
		}
	}
	var last time.Time
	show := func() error {
		events, err := a.Journal.Events()
		if err != nil {
			return err
		}
		for _, e := range events {
			if name != "" && e.Workspace != name || !e.Time.After(last) {
				continue
			}
			last = e.Time
			if err := showEvent(out, e, asJSON); err != nil {
				return err
			}
		}
		return nil
	}
	if !follow {
		if err := show(); err != nil || name == "" || asJSON {
			return err
		}
		return a.showConsole(name, out)
	}
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := a.Journal.Watch(ctx, func() {
		if failed = show(); failed != nil {
			cancel()
		}
	})
	return errors.Join(err, failed)
}

func showEvent(out io.Writer, e journal.Event, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(out).Encode(e); err != nil {
			return fmt.Errorf("printing the journal: %w", err)
		}
		return nil
	}
	text := ""
	for _, s := range []string{e.Verb, e.Phase, e.Agent, e.Level, e.Path, e.Detail, e.Error} {
		if s != "" {
			text += " " + s
		}
	}
	_, err := fmt.Fprintf(out, "%s %-12s %-13s%s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"), e.Workspace, e.Kind,
		session.Printable(text))
	return err
}

// consoleTail is how much of a guest's console is shown.
const consoleTail = 8 << 10

func (a *App) showConsole(name string, out io.Writer) error {
	f, err := os.Open(filepath.Join(a.Home.WorkspaceDir(name), "machine", "run", "serial.log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the guest's console: %w", err)
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err == nil && fi.Size() > consoleTail {
		if _, err := f.Seek(-consoleTail, io.SeekEnd); err != nil {
			return fmt.Errorf("reading the guest's console: %w", err)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, consoleTail))
	if err != nil {
		return fmt.Errorf("reading the guest's console: %w", err)
	}
	if _, err := fmt.Fprintln(out, "--- console of the guest ---"); err != nil {
		return err
	}
	for line := range splitConsole(string(b)) {
		if _, err := fmt.Fprintln(out, session.Printable(line)); err != nil {
			return err
		}
	}
	return nil
}

func splitConsole(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.SplitSeq(s, "\n") {
			if !yield(strings.TrimRight(line, "\r")) {
				return
			}
		}
	}
}
