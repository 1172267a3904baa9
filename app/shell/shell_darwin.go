//go:build cgo

package shell

import (
	"context"
	"sync"
	"time"

	"github.com/progrium/darwinkit/macos/appkit"
	"github.com/progrium/darwinkit/macos/foundation"
	"github.com/progrium/darwinkit/objc"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
	"github.com/calmenu/calmenu/internal/host"
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
	if cocoa.Bundled() {
		cocoa.ListenForClicks()
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
	cocoa.Observe(workspace, "NSWorkspaceWillSleepNotification", func() { h.event(host.WillSleep) })
	cocoa.Observe(workspace, "NSWorkspaceDidWakeNotification", func() { h.event(host.DidWake) })
	cocoa.Observe(workspace, "NSWorkspaceSessionDidBecomeActiveNotification", func() { h.event(host.UserSwitchedTo) })
	cocoa.Observe(workspace, "NSWorkspaceSessionDidResignActiveNotification", func() { h.event(host.UserSwitchedAway) })

	// Nothing in AppKit tells of a locked screen; these two are loginwindow's, undocumented and in use since macOS 10.5.
	everywhere := objc.Call[foundation.NotificationCenter](objc.GetClass("NSDistributedNotificationCenter"),
		objc.Sel("defaultCenter"))
	cocoa.Observe(everywhere, "com.apple.screenIsLocked", func() { h.event(host.ScreenLocked) })
	cocoa.Observe(everywhere, "com.apple.screenIsUnlocked", func() { h.event(host.ScreenUnlocked) })

	power := func() {
		if lowPower() {
			h.event(host.LowPowerOn)
		} else {
			h.event(host.LowPowerOff)
		}
	}
	cocoa.Observe(own, "NSProcessInfoPowerStateDidChangeNotification", power) // on any thread
	power()
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

func lowPower() bool {
	var on bool
	objc.WithAutoreleasePool(func() { on = cocoa.CallBOOL(foundation.ProcessInfo_ProcessInfo(), "isLowPowerModeEnabled") })
	return on
}

// idleSleepDisabled keeps the computer from sleeping by itself, and nothing more (NSActivityOptions).
const idleSleepDisabled = foundation.ActivityIdleSystemSleepDisabled

// KeepAwake has the computer not sleep because nobody is at it, until release is called. why is shown by
// `pmset -g assertions`.
func KeepAwake(_ context.Context, why string) (release func(), err error) {
	var held objc.Object
	objc.WithAutoreleasePool(func() {
		held = foundation.ProcessInfo_ProcessInfo().BeginActivityWithOptionsReason(idleSleepDisabled, why)
		held.Retain()
	})
	return sync.OnceFunc(func() {
		objc.WithAutoreleasePool(func() {
			foundation.ProcessInfo_ProcessInfo().EndActivity(held)
			held.Release()
		})
	}), nil
}
