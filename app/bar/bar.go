// Package bar is the menu-bar agent: it shows the State, looks after running workspaces, and does what is clicked. Where
// there is no desktop it does the same without the showing.
//
// What must hold: one agent per home; nothing done by a click blocks the menu; what a click started ends in a
// notification if it fails; the agent may die at any instant and loses no machine and no session by it.
package bar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/statusicon"
	"github.com/calmenu/calmenu/internal/vm"
)

// Agent is the menu-bar agent of one process.
type Agent struct {
	app  *app.App
	desk desktop.Desktop // nil where there is none
	tray Tray            // nil where there is none
	self string          // path of this program, for terminals it opens

	refresh chan struct{}   // asks for another look at the facts; holds one request at most
	over    context.Context // ends when the agent is to end
	quit    context.CancelFunc
	ended   chan struct{} // closed when Run has returned
	github  gitHub
	risks   risks
	tasks   tasks
	asks    asks
	awake   awake
	bursts  bursts
	login   login

	configured time.Time // when config.yaml was last changed; of the goroutine that runs
	waits      waits
	asked      map[string]context.CancelFunc // take questions about destinations off the screen, by the questions' identifiers

	mu      sync.Mutex // guards what follows
	last    state.State
	keeping map[string]bool
}

// Tray shows a menu. *statusicon.Tray is one.
type Tray interface {
	Set(m statusicon.Menu)
}

// ErrRunning is returned if another agent of this home runs already.
var ErrRunning = errors.New("CALMenu is running already")

// New makes an agent. desk and tray may be nil.
func New(a *app.App, desk desktop.Desktop) (*Agent, error) {
	self, err := app.Self()
	if err != nil {
		return nil, err
	}
	b := &Agent{
		app: a, github: a, risks: a, desk: desk, self: self,
		refresh: make(chan struct{}, 1), ended: make(chan struct{}), keeping: map[string]bool{},
	}
	b.bursts.tell = b.announce
	b.over, b.quit = context.WithCancel(context.Background())
	return b, nil
}

// Show gives the agent a tray, with the menu as it is now. It must be called before Run, and before the tray is shown:
// to a panel that has seen an empty menu, submenus that come with their entries stay empty (libdbusmenu-gtk3 takes the
// entries before it has made the submenu).
func (b *Agent) Show(ctx context.Context, t Tray) {
	b.tray = t
	s, err := b.app.State(ctx)
	if err != nil {
		b.trouble(err)
		return
	}
	m := b.menu(s)
	// systray loses an icon that is set while it connects; the first look, a moment later, sets the real one.
	m.Status = statusicon.Idle
	b.show(m)
}

// factsEvery is how often the driver is asked for machines that began or ended without a word in the journal. Those this
// agent keeps are noticed at once, by their connection.
const factsEvery = 5 * time.Second

// agesEvery is how often the menu is redrawn for the ages in it alone.
const agesEvery = time.Minute

// lockTime is how long another agent must have held its lock to be one.
const lockTime = 200 * time.Millisecond

// Run is the agent's life. It returns when ctx ends or Quit is chosen. log is told, in a line each, what a person who
// started it in a terminal wants to know.
func (b *Agent) Run(ctx context.Context, log io.Writer) error {
	defer close(b.ended)
	l := flock.New(filepath.Join(b.app.Home.LocksDir(), "agent.lock"), flock.SetPermissions(0o600))
	// Verbs that look whether an agent runs hold it for an instant.
	soon, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	ok, err := l.TryLockContext(soon, lockTime/20)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("locking the agent: %w", err)
	}
	if !ok {
		return hint.Wrap(ErrRunning, "Its icon is in the menu bar. CALMenu status shows what it does.")
	}
	defer func() { _ = l.Close() }()
	defer context.AfterFunc(ctx, b.quit)()
	ctx = b.over
	if err := b.app.Journal.Append(journal.Event{Kind: journal.AgentBegin}); err != nil {
		return err
	}
	defer func() { _ = b.app.Journal.Append(journal.Event{Kind: journal.AgentEnd}) }()
	// However the loop ends: what only watches is told to end, and what was begun is waited for.
	defer func() {
		b.quit()
		b.tasks.end()
		b.awake.letGo()
	}()

	watching := make(chan error, 1)
	go func() { watching <- b.app.Journal.Watch(ctx, b.Refresh) }()
	go b.app.WatchUpdates(ctx, b.Refresh)
	b.tasks.start(func() { b.watchHost(ctx) })
	defer b.app.Rhythm.Listen(b.heard)()
	b.recover(ctx)
	facts := time.NewTicker(factsEvery)
	defer facts.Stop()
	ages := time.NewTicker(agesEvery)
	defer ages.Stop()
	var machines []vm.Machine
	for {
		rests, changed := b.app.Rhythm.Rests()
		ticks, minutes := facts.C, ages.C
		if rests {
			ticks, minutes = nil, nil // nobody looks; what is journaled is shown all the same
		}
		select {
		case <-changed:
			continue
		case <-ctx.Done():
			return nil
		case err := <-watching:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-ticks:
			now, err := b.app.Driver.Machines(ctx)
			if err == nil && sameMachines(machines, now) && !b.configChanged() {
				continue
			}
			machines = now
		case <-minutes:
			b.login.look()
		case <-b.refresh:
		}
		if err := b.look(ctx, log); err != nil && ctx.Err() == nil {
			b.trouble(err)
		}
	}
}

func sameMachines(a, b []vm.Machine) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Running != b[i].Running || a[i].PID != b[i].PID {
			return false
		}
	}
	return true
}

// Refresh asks for another look at the facts. It never blocks.
func (b *Agent) Refresh() {
	select {
	case b.refresh <- struct{}{}:
	default:
	}
}

// recover finishes or undoes what a crash left in any workspace.
func (b *Agent) recover(ctx context.Context) {
	names, err := b.app.Config().Workspaces()
	if err != nil {
		b.app.Log.Error().Err(err).Msg("listing workspaces")
		return
	}
	for _, n := range names {
		if err := b.app.Recover(ctx, n); err != nil {
			b.app.Log.Error().Str("workspace", n).Err(err).Msg("recovering")
		}
	}
	b.tasks.start(func() {
		gone, err := b.app.SweepDisposable(ctx)
		if err != nil {
			b.app.Log.Error().Err(err).Msg("deleting disposable workspaces that were left behind")
		}
		if len(gone) > 0 {
			b.app.Log.Info().Strs("workspaces", gone).Msg("disposable workspaces were left behind, and are deleted")
		}
	})
}

func (b *Agent) configChanged() bool {
	fi, err := os.Stat(b.app.Home.ConfigFile())
	return err == nil && !fi.ModTime().Equal(b.configured)
}

// reload reads config.yaml again if it was changed. What is wrong with it is told once; the old settings stay in force.
func (b *Agent) reload() {
	fi, err := os.Stat(b.app.Home.ConfigFile())
	if err != nil || fi.ModTime().Equal(b.configured) {
		return
	}
	first := b.configured.IsZero()
	b.configured = fi.ModTime()
	if first {
		return
	}
	if err := b.app.Reload(); err != nil {
		b.app.Log.Warn().Err(err).Msg("config.yaml was changed and cannot be read")
		b.notify(desktop.Notification{Title: "config.yaml has mistakes", Body: err.Error()})
		return
	}
	b.applyLogin()
}

// look folds the state, shows it, and looks after what runs.
func (b *Agent) look(ctx context.Context, log io.Writer) error {
	b.reload()
	s, err := b.app.State(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	before := b.last
	b.last = s
	b.mu.Unlock()
	b.show(b.menu(s))
	b.awake.look(s, b.app.Log.Warn)
	b.announceOthers(before, s)
	b.announceWaiting(ctx, s)
	b.announceAsks(ctx, s)
	if text, news := b.app.DiskWarningToTell(); news {
		b.notify(desktop.Notification{
			Title: "The disk is nearly full", Body: text + ". CALMenu snapshot prune frees what snapshots hold.",
		})
	}
	for _, w := range s.Workspaces {
		if w.PID != 0 && w.Life == state.Running {
			b.keep(ctx, w.Name)
		}
		old, known := before.Find(w.Name)
		if known && old.Isolation.Level != w.Isolation.Level && w.Isolation.Level == isolation.Broken {
			b.notify(desktop.Notification{
				Title: "Isolation broken", Body: menu.IsolationLine(w),
				OnClick: func() { b.Do(menu.Action{Verb: menu.Isolation, Workspace: w.Name}) },
			})
		}
		if b.desk == nil && (!known || !reflect.DeepEqual(old.Why(), w.Why())) {
			_, _ = fmt.Fprintf(log, "%s %s: %s\n", s.Time.Format(time.TimeOnly), w.Name, w.Why())
		}
	}
	return nil
}

func (b *Agent) menu(s state.State) statusicon.Menu {
	s.StartAtLogin = b.login.state()
	return menu.Build(s, b.choices())
}

func (b *Agent) choices() []menu.Choice {
	choices := make([]menu.Choice, 0, len(b.app.Agents()))
	for _, ag := range b.app.Agents() {
		choices = append(choices, menu.Choice{ID: ag.ID, Name: ag.Name})
	}
	return choices
}

// trouble shows that the state cannot be read, and why.
func (b *Agent) trouble(err error) {
	b.app.Log.Error().Err(err).Msg("reading the state")
	b.show(statusicon.Menu{
		Title: "CALMenu", Status: statusicon.Broken, Tooltip: "CALMenu: " + err.Error(),
		Items: menu.Trouble(err.Error(), hint.Of(err)),
	})
}

func (b *Agent) show(m statusicon.Menu) {
	if b.tray != nil {
		b.tray.Set(m)
	}
}

// keep looks after a running workspace unless this agent does already. Another process may be doing it: then it is tried
// again for as long as the machine runs.
func (b *Agent) keep(ctx context.Context, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keeping[name] {
		return
	}
	b.keeping[name] = b.tasks.start(func() {
		err := b.app.Keep(ctx, name, app.Hooks{
			Landed: b.landed, HookFailed: b.hookFailed, OutboxFailed: b.outboxFailed,
		})
		if err != nil && !errors.Is(err, app.ErrKept) && ctx.Err() == nil {
			b.app.Log.Warn().Str("workspace", name).Err(err).Msg("keeping")
		}
		if err != nil {
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		}
		b.mu.Lock()
		delete(b.keeping, name)
		b.mu.Unlock()
		b.Refresh()
	})
}

func (b *Agent) notify(n desktop.Notification) {
	if b.desk == nil || !b.app.Config().UI.Notifications {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.desk.Notify(ctx, n); err != nil {
		b.app.Log.Warn().Err(err).Msg("posting a notification")
	}
}
