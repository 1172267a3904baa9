// Package host tells what happens to the computer CALMenu runs on: sleep, wake, a locked screen, another network. It adds
// these up to whether probes should rest, and what must be looked at anew.
//
// What must hold: nobody who tells of an event is held up by those who listen; two sources that tell of one wake are heard
// as one; a sleep that was announced and never came does not rest the probes for ever.
package host

// Event is something that happens to the computer and that a program with connections must know.
type Event int

// The events a system tells of.
const (
	WillSleep      Event = iota + 1 // the computer is about to sleep; a program has a few seconds at most
	DidWake                         // it woke up: clocks and connections of guests are stale
	UserSwitchedTo                  // this person's session has the screen again
	UserSwitchedAway
	ScreenLocked
	ScreenUnlocked
	NetworkChanged // an interface or address of the host came, went or changed
	LowPowerOn     // the person, or a nearly empty battery, asks programs to save energy
	LowPowerOff
)

var names = map[Event]string{
	WillSleep: "will sleep", DidWake: "did wake",
	UserSwitchedTo: "user switched to", UserSwitchedAway: "user switched away",
	ScreenLocked: "screen locked", ScreenUnlocked: "screen unlocked",
	NetworkChanged: "network changed", LowPowerOn: "low power on", LowPowerOff: "low power off",
}

// String returns the event as logs name it.
func (e Event) String() string {
	if s := names[e]; s != "" {
		return s
	}
	return "unknown event"
}
