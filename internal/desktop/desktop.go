// Package desktop is what CALMenu needs of the desktop it runs on: notifications, a terminal window, dialogs, the file
// manager, the clipboard. The rest of the program sees the Desktop interface and does not know which desktop it is.
//
// What must hold: text is data, never markup, never part of a command line that something parses; secrets travel by
// pipe, never by argv; one dialog is open at a time; every wait ends with its context; a program started for the
// person (terminal, browser) outlives CALMenu.
package desktop

import (
	"context"
	"errors"
)

// ErrClosed is returned by methods of a Desktop after Close.
var ErrClosed = errors.New("desktop connection is closed")

// Desktop is one person's desktop session. Its methods may be called from any goroutine.
type Desktop interface {
	// Name says what desktop this is, for logs and doctor ("XFCE on X11").
	Name() string
	// Notify posts a notification and returns once the desktop has it.
	Notify(ctx context.Context, n Notification) error
	// Terminal opens a terminal window that runs r.Argv and returns once it has started, not when it ends.
	Terminal(ctx context.Context, r TerminalRequest) error
	// Ask shows a dialog and waits for the answer. Dialogs queue: one is open at a time.
	Ask(ctx context.Context, q Question) (Answer, error)
	// Open opens a file, folder or URL in the program the person has chosen for it.
	Open(ctx context.Context, pathOrURL string) error
	// Reveal shows the file selected in the file manager, or its folder where the file manager cannot select.
	Reveal(ctx context.Context, path string) error
	// Raise brings a window to the front and gives it the keyboard, and tells whether it is there now. False without an
	// error means that there is no such window, or none that this desktop lets a program raise.
	Raise(ctx context.Context, w Window) (bool, error)
	// CopyText puts text on the clipboard.
	CopyText(ctx context.Context, s string) error
	// Close lets go of the desktop: handlers of notifications are no longer called. Open windows stay.
	Close() error
}

// Notification is a message that does not wait for the person. OnClick runs, on its own goroutine and at most once,
// when it is clicked; Actions are extra buttons. Desktops that have no clicks show the text alone. One with Until is shown until
// that ends, where the desktop lets a program say so; others go when the desktop finds that they were there long enough.
type Notification struct {
	Title   string
	Body    string
	Actions []Action
	OnClick func()
	Until   context.Context
}

// The labels of the actions that notifications have. macOS wants to know of a notification's buttons before it is posted;
// it is told of these when the program starts.
const (
	Reveal      = "Reveal"
	OpenSession = "Open Session"
	AllowOnce   = "Allow Once"
	AlwaysAllow = "Always Allow"
	Deny        = "Deny"
)

// Permission is whether the person lets CALMenu notify.
type Permission struct {
	OK           bool
	Detail, Hint string
}

// Action is a button of a notification. Run is called on its own goroutine, at most once.
type Action struct {
	Label string
	Run   func()
}

// TerminalRequest is a program to run in a new terminal window. Argv is executed as it is, without a shell. It gets the
// environment of CALMenu. Dir "" is the home directory.
type TerminalRequest struct {
	Title string
	Argv  []string
	Dir   string
}

// Window is how a terminal's window is found: by a process that runs in it, or else by its title.
type Window struct {
	PID   int    // of a process in the terminal; 0 if unknown
	Title string // the words that follow "CAL " or "CALMenu: " in its title; they decide among windows of one process
}

// QuestionKind says what sort of dialog a Question is.
type QuestionKind int

// The kinds of dialog.
const (
	Info     QuestionKind = iota // text and one button
	Warn                         // the same, looking serious: something failed
	Confirm                      // text and Buttons
	Entry                        // a line of text, Initial filled in
	Text                         // several lines of text, Initial filled in; Return begins a new one
	Password                     // a line of text, hidden
	List                         // one of Choices
)

// Question is a dialog. Buttons (Confirm only) are the choices beside Cancel, the first is the default; they must
// differ from each other and from Cancel. Cancel "" is "Cancel".
type Question struct {
	Kind    QuestionKind
	Title   string
	Text    string
	Buttons []string
	Cancel  string
	Initial string
	Choices []string
}

// Answer is what the person did. Cancelled means the dialog was closed or refused, and nothing else counts then.
type Answer struct {
	Cancelled bool
	Button    int    // Confirm: index in Buttons
	Text      string // Entry, Text, Password
	Choice    int    // List: index in Choices
}

// cancelLabel is the title of the button that refuses q.
func (q Question) cancelLabel() string {
	if q.Cancel == "" {
		return "Cancel"
	}
	return q.Cancel
}
