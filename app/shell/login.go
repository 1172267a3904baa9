package shell

import (
	"context"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/vm"
)

// LoginItem is this program's login item (bar.LoginItem).
type LoginItem struct{}

// State asks the system whether it starts CALMenu at login.
func (LoginItem) State() state.LoginItem { return StartsAtLogin() }

// Set has the system start CALMenu at login, or no longer.
func (LoginItem) Set(on bool) error { return SetStartAtLogin(on) }

// Approve has the person allow it.
func (LoginItem) Approve(ctx context.Context) error { return approveLogin(ctx) }

// LoginRequirement is what doctor says of the login item.
func LoginRequirement(wanted bool) vm.Requirement { return loginRequirement(wanted, StartsAtLogin()) }

func loginRequirement(wanted bool, is state.LoginItem) vm.Requirement {
	r := vm.Requirement{Name: "start at login", Optional: true, OK: true, Detail: string(is)}
	switch {
	case is == state.LoginNeedsApproval:
		r.OK, r.Hint = false, loginSettings
	case is == state.LoginUnavailable && wanted:
		r.OK, r.Hint = false, "Install CALMenu.app and start it from the Finder, or set ui.start_at_login to false."
	case is == state.LoginOff && wanted:
		r.OK, r.Detail = false, "off, although ui.start_at_login asks for it"
		r.Hint = "Start the menu bar program: it sets it up."
	}
	return r
}
