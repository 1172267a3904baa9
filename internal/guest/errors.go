package guest

import (
	"errors"
	"fmt"

	"github.com/calmenu/calmenu/internal/hint"
)

// Errors callers decide on; test with errors.Is.
var (
	// ErrClosed is the reason of a connection this side closed.
	ErrClosed = errors.New("connection to the guest was closed")
	// ErrLost is the reason of a connection that broke or stopped answering.
	ErrLost = errors.New("connection to the guest was lost")
	// ErrAuth means that the guest did not accept the workspace's key.
	ErrAuth = errors.New("guest refused the workspace's key")
	// ErrLimit means that a command wrote more than Cmd.Limit.
	ErrLimit = errors.New("guest command wrote too much")
	// ErrNotPinned means that no host key was recorded yet.
	ErrNotPinned = errors.New("no host key of the guest was recorded")
	// ErrThawed means that the guest resumed writing before the work done on its frozen disk was over.
	ErrThawed = errors.New("guest's file system was thawed too early")
)

// HostKeyError is a guest that presents another host key than the pinned one: another machine, or one that was
// replaced.
type HostKeyError struct {
	Want, Got string // SHA256 fingerprints
}

func (e *HostKeyError) Error() string {
	return fmt.Sprintf("guest's host key is %s, pinned is %s", e.Got, e.Want)
}

func hostKeyMismatch(want, got string) error {
	return hint.Wrap(&HostKeyError{Want: want, Got: got},
		"Another machine answers in the guest's place, or its keys were replaced. Roll the workspace back to a snapshot, "+
			"or delete it and create it anew.")
}

// SignalError is a command that was ended by a signal.
type SignalError struct {
	Signal string // without SIG: "KILL"
}

func (e *SignalError) Error() string { return "guest command was ended by signal " + e.Signal }
