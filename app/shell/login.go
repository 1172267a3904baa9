package shell

// LoginItem says whether the menu bar program is started when the person logs in.
type LoginItem int

// The states of the login item, as the system knows them.
const (
	LoginOff           LoginItem = iota // not started at login
	LoginOn                             // started at login
	LoginNeedsApproval                  // asked for, but the person must allow it in the system's settings
	LoginUnavailable                    // this program cannot be started at login (not run from an application bundle)
)

// String returns the state as doctor and logs name it.
func (l LoginItem) String() string {
	switch l {
	case LoginOn:
		return "on"
	case LoginNeedsApproval:
		return "needs approval in System Settings"
	case LoginUnavailable:
		return "unavailable"
	default:
		return "off"
	}
}
