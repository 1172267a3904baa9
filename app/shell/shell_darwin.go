//go:build cgo

package shell

import (
	"time"

	"github.com/progrium/darwinkit/macos/appkit"
	"github.com/progrium/darwinkit/macos/foundation"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
)

// dialogClosed is what a dialog answers that quitting closed; desktop reads every negative answer so.
const dialogClosed appkit.ModalResponse = -1

// mac prepares NSApplication and watches it. The tray owns its delegate and its loop: a second delegate would leave the
// status item's button without its action, and a delegate of darwinkit's would be called through libffi closures.
type mac struct{}

func newSystem() system { return mac{} }

func (mac) prepare(h hooks) error {
	if err := cocoa.CheckBuild(); err != nil {
		return err
	}
	app := appkit.Application_SharedApplication()
	// No icon in the Dock, no menu of its own; LSUIElement says the same for the bundle.
	cocoa.CallBOOL(app, "setActivationPolicy:", appkit.ApplicationActivationPolicyAccessory)

	own := foundation.NotificationCenter_DefaultCenter()
	cocoa.Observe(own, "NSApplicationDidFinishLaunchingNotification", func() {
		cocoa.Launched()
		h.ready()
	})
	// Posted on logout, shutdown and terminate:, after which AppKit calls exit and Run never returns.
	cocoa.Observe(own, "NSApplicationWillTerminateNotification", h.exit)

	workspace := appkit.Workspace_SharedWorkspace().NotificationCenter()
	for name, event := range map[string]Event{
		"NSWorkspaceWillSleepNotification":              WillSleep,
		"NSWorkspaceDidWakeNotification":                DidWake,
		"NSWorkspaceSessionDidBecomeActiveNotification": UserSwitchedTo,
		"NSWorkspaceSessionDidResignActiveNotification": UserSwitchedAway,
	} {
		cocoa.Observe(workspace, name, func() { h.event(event) })
	}
	return nil
}

// release closes the dialog that is open, if any: [NSApp stop:], by which the tray ends the loop, would end the dialog
// instead of the loop. A dialog leaves the main thread a moment after it was stopped, so it looks again.
func (m mac) release(done func()) {
	cocoa.OnMain(func() {
		if !cocoa.ModalOpen() {
			done()
			return
		}
		cocoa.StopModal(dialogClosed)
		time.AfterFunc(20*time.Millisecond, func() { m.release(done) })
	})
}
