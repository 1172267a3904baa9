package bar

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
)

// LoginItem is what starts CALMenu when the person logs in, as the system has it.
type LoginItem interface {
	// State asks the system.
	State() state.LoginItem
	// Set has CALMenu started at login, or no longer.
	Set(on bool) error
	// Approve has the person allow what the system holds back, in its settings where it insists on that.
	Approve(ctx context.Context) error
}

// StartAtLogin gives the agent the login item it shows and changes. It must be called before Show.
func (b *Agent) StartAtLogin(item LoginItem) {
	b.login.item = item
	b.applyLogin()
}

// login is the login item as it was seen last.
type login struct {
	item   LoginItem // nil: there is none to show
	wanted *bool     // what the configuration said last; of the goroutine that runs

	mu   sync.Mutex // guards what follows
	seen state.LoginItem
}

func (l *login) state() state.LoginItem {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// look asks the system again: people change it in its settings too.
func (l *login) look() {
	if l.item == nil {
		return
	}
	now := l.item.State()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = now
}

// applyLogin does what ui.start_at_login says: at the start only if it asks for what was never set up, later only if it was
// changed. What the person has switched off in the system's own settings stays off.
func (b *Agent) applyLogin() {
	if b.login.item == nil {
		return
	}
	want, first := b.app.Config().UI.StartAtLogin, b.login.wanted == nil
	changed := !first && *b.login.wanted != want
	b.login.wanted = &want
	b.login.look()
	if is := b.login.state(); !(want && is == state.LoginOff && (first || changed) || !want && is == state.LoginOn && changed) {
		return
	}
	if err := b.login.item.Set(want); err != nil {
		b.app.Log.Warn().Err(err).Bool("want", want).Msg("ui.start_at_login")
	}
	b.login.look()
	b.Refresh()
}

// toggleLogin is a click on the entry: the configuration and the system are changed together. What only the person may
// allow is shown in the system's settings.
func (b *Agent) toggleLogin(ctx context.Context) error {
	defer func() {
		b.login.look()
		b.Refresh()
	}()
	b.login.look()
	is := b.login.state()
	if is == state.LoginNeedsApproval {
		return b.login.item.Approve(ctx)
	}
	on := is != state.LoginOn
	if err := b.login.item.Set(on); err != nil {
		return err
	}
	cfg := b.app.Config()
	if err := cfg.Set(b.app.Home.ConfigFile(), "ui.start_at_login", strconv.FormatBool(on)); err != nil {
		return fmt.Errorf("keeping the choice in config.yaml: %w", err)
	}
	if on && b.login.item.State() == state.LoginNeedsApproval {
		b.notify(desktop.Notification{
			Title: "Start at Login needs your approval", Body: "Allow CALMenu in the system's settings, under Login Items.",
		})
	}
	return nil
}
