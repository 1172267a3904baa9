package bar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// Click does what the entry with this identifier stands for. It returns at once.
func (b *Agent) Click(id string) {
	if a, ok := menu.ParseID(id); ok {
		b.Do(a)
	}
}

// Do carries out an action of the menu on a goroutine of its own, unless the same is under way or was a moment ago: a
// second click of a double click means nothing more than the first. Its failure becomes a notification.
func (b *Agent) Do(a menu.Action) {
	b.tasks.once(a, func() {
		ctx := context.Background() // quitting must not cut an operation short; it is waited for
		err := b.act(ctx, a)
		if err == nil || errors.Is(err, app.ErrDeclined) {
			return
		}
		b.app.Log.Error().Str("action", a.Verb).Str("workspace", a.Workspace).Err(err).Msg("menu")
		b.notify(desktop.Notification{
			Title: fmt.Sprintf("CALMenu: %s failed", doing(a.Verb)),
			Body:  strings.TrimSpace(err.Error() + "\n" + hint.Of(err)),
		})
	})
}

// doing names what an action does, for a person whose click it was.
func doing(verb string) string {
	switch verb {
	case menu.GoTo:
		return "going to the session"
	case menu.OpenOutput, menu.OpenPage, menu.NetLog:
		return "opening it"
	case menu.NetMode:
		return "switching the tunnel"
	case menu.NetPolicy:
		return "changing the network's policy"
	case menu.NetAllow, menu.NetOnce:
		return "allowing a connection"
	case menu.NetDeny:
		return "refusing a connection"
	case menu.SignIn:
		return "signing in"
	}
	return verb
}

func (b *Agent) act(ctx context.Context, a menu.Action) error {
	switch a.Verb {
	case menu.Launch:
		if a.Arg == "" {
			return b.goTo(ctx, a.Workspace, "")
		}
		s, err := b.app.State(ctx)
		if err != nil {
			return err
		}
		w, _ := s.Find(a.Workspace)
		w.Name = a.Workspace
		return b.launch(ctx, w, a.Arg)
	case menu.GoTo:
		return b.goTo(ctx, a.Workspace, a.Arg)
	case menu.Shell:
		return b.terminal(ctx, a.Workspace+" shell", "shell", a.Workspace, "--pause")
	case menu.Isolation:
		return b.terminal(ctx, "Isolation Report", "isolation", a.Workspace, "--pause")
	case menu.Doctor:
		return b.terminal(ctx, "Doctor", "doctor", "--pause")
	case menu.Logs:
		return b.desk.Open(ctx, b.app.LogFile())
	case menu.Preferences:
		return b.preferences(ctx)
	case menu.Update:
		u, _ := b.app.UpdateAvailable()
		return b.desk.Open(ctx, u.URL)
	case menu.Reveal:
		return b.desk.Reveal(ctx, a.Arg)
	case menu.Sign:
		return b.sign(ctx, a.Workspace, a.Arg)
	case menu.OpenOutput:
		return b.openOutput(ctx, a.Workspace)
	case menu.Switch:
		return b.app.Switch(a.Workspace)
	case menu.Commit:
		return b.commit(ctx, a.Workspace)
	case menu.SignIn:
		return b.signIn(ctx, a.Workspace)
	case menu.OpenPage:
		return b.desk.Open(ctx, a.Arg)
	case menu.Login:
		return b.toggleLogin(ctx)
	case menu.Quit:
		return b.askQuit(ctx)
	}
	if isNetwork(a.Verb) {
		return b.network(ctx, a)
	}
	return b.change(ctx, a)
}

// change carries out the actions that change a workspace. Progress is in the journal, and so in the menu.
func (b *Agent) change(ctx context.Context, a menu.Action) error {
	name := a.Workspace
	switch a.Verb {
	case menu.Start:
		return b.app.Start(ctx, name, nil)
	case menu.Stop:
		return b.app.Stop(ctx, name, nil)
	case menu.Restart:
		return b.app.Restart(ctx, name, nil)
	case menu.Sync:
		r, failed, err := b.app.Sync(ctx, name, nil)
		if err == nil && len(r.Landed)+len(r.Refused) == 0 {
			b.notify(desktop.Notification{Title: "Nothing new", Body: "~/output in " + name + " holds nothing that has not landed."})
		}
		if err == nil {
			if w, werr := b.app.Workspace(name); werr == nil {
				b.landed(w, r)
				for _, f := range failed {
					b.hookFailed(w, f)
				}
			}
		}
		return err
	case menu.Snapshot:
		return b.snapshot(ctx, name)
	case menu.Rollback, menu.Undo:
		return b.rollback(ctx, a)
	case menu.New:
		return b.newWorkspace(ctx)
	case menu.Delete:
		return b.delete(ctx, name)
	}
	return fmt.Errorf("the menu asked for %q, which is nothing CALMenu does", a.Verb)
}

func (b *Agent) terminal(ctx context.Context, title string, args ...string) error {
	return b.desk.Terminal(ctx, desktop.TerminalRequest{Title: "CALMenu: " + title, Argv: append([]string{b.self}, args...)})
}

func (b *Agent) snapshot(ctx context.Context, name string) error {
	holds, err := b.app.SnapshotHolds(ctx, name)
	if err != nil {
		return err
	}
	ans, err := b.ask(ctx, desktop.Question{
		Kind: desktop.Entry, Title: "Snapshot of " + name, Text: "A name for the snapshot (empty: the time). " + holds,
	})
	if err != nil {
		return err
	}
	s, err := b.app.TakeSnapshot(ctx, name, snapshot.Snapshot{Name: strings.TrimSpace(ans.Text)}, nil)
	if err != nil {
		return err
	}
	b.notify(desktop.Notification{Title: "Snapshot taken", Body: fmt.Sprintf("%s: %s", name, s.Name)})
	return nil
}

func (b *Agent) rollback(ctx context.Context, a menu.Action) error {
	err := b.askDiscard(ctx, a.Workspace, discard{
		title: "Roll back " + a.Workspace + "?", text: b.rollbackText(a) + b.previewText(ctx, a), button: "Roll Back", keeps: true,
	})
	if err != nil {
		return err
	}
	var r app.Rolled
	if a.Verb == menu.Undo {
		r, err = b.app.UndoRollback(ctx, a.Workspace, nil)
	} else {
		r, err = b.app.Rollback(ctx, a.Workspace, a.Arg, nil)
	}
	if err != nil {
		return err
	}
	b.notify(desktop.Notification{Title: "Rolled back", Body: fmt.Sprintf("%s is as it was at %q.", a.Workspace, r.To.Name)})
	return nil
}

// rollbackText says what a rollback does, and to which snapshot: menus are easy to miss by a line.
func (b *Agent) rollbackText(a menu.Action) string {
	const kept = "What changed since leaves the workspace. It is kept, and Undo brings it back."
	if a.Verb == menu.Undo {
		return "It becomes what it was before the last rollback. " + kept
	}
	b.mu.Lock()
	w, _ := b.last.Find(a.Workspace)
	b.mu.Unlock()
	for _, sn := range w.Snapshots {
		if sn.ID == a.Arg {
			return fmt.Sprintf("It becomes what it was at %q. %s", sn.Name, kept)
		}
	}
	return kept
}

// previewLines and previewColumns are how much of what changed a dialog has room for.
const (
	previewLines   = 6
	previewColumns = 72
)

// previewText says what changed since the snapshot of a rollback; empty where it is not known.
func (b *Agent) previewText(ctx context.Context, a menu.Action) string {
	if a.Verb == menu.Undo {
		return ""
	}
	p, err := b.app.Preview(ctx, a.Workspace, a.Arg)
	if err != nil || p.Changes == nil {
		return ""
	}
	lines := p.Lines(previewColumns)
	return "\n\n" + strings.Join(lines[:min(len(lines), previewLines)], "\n")
}

func (b *Agent) newWorkspace(ctx context.Context) error {
	ans, err := b.ask(ctx, desktop.Question{
		Kind: desktop.Entry, Title: "New workspace", Text: "Name (lower-case letters, digits and hyphens):",
	})
	if err != nil {
		return err
	}
	name := strings.TrimSpace(ans.Text)
	if err := vm.ValidName(name); err != nil {
		return err
	}
	if err := b.app.New(ctx, name, nil, nil); err != nil {
		return err
	}
	return b.app.Switch(name)
}

func (b *Agent) openOutput(ctx context.Context, name string) error {
	w, err := b.app.Workspace(name)
	if err != nil {
		return err
	}
	dir := b.app.OutputDir(w)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the output folder: %w", err)
	}
	return b.desk.Open(ctx, dir)
}

// preferences opens config.yaml, which is made, with every setting commented out, if there is none.
func (b *Agent) preferences(ctx context.Context) error {
	file := b.app.Home.ConfigFile()
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := atomicfile.Write(file, config.Template(), 0o600); err != nil {
			return err
		}
	}
	return b.desk.Open(ctx, file)
}
