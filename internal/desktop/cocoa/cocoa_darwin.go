//go:build cgo

package cocoa

import (
	"fmt"
	"sync/atomic"

	"github.com/progrium/darwinkit/helper/action"
	"github.com/progrium/darwinkit/macos/appkit"
	"github.com/progrium/darwinkit/macos/foundation"
	"github.com/progrium/darwinkit/objc"
)

// launched says that NSApplication's loop serves the main thread; without it OnMain is never answered.
var launched atomic.Bool

// Launched records that NSApplication's loop runs. Called once, on the main thread, when it has launched.
func Launched() { launched.Store(true) }

// LoopRuns says whether this process has a menu bar program's loop. Command-line verbs have none.
func LoopRuns() bool { return launched.Load() }

// OnMain has f run on the main thread and does not wait for it. It is served in all common run loop modes, so also
// while a menu or a dialog is open, and f may open a dialog: a block on the main dispatch queue could not, the queue
// would stand still until it closed.
func OnMain(f func()) {
	objc.WithAutoreleasePool(func() {
		target, sel := action.Wrap(func(objc.Object) { f() })
		objc.Call[objc.Void](target, objc.Sel("performSelectorOnMainThread:withObject:waitUntilDone:"), sel, nil, false)
		target.Release() // the run loop keeps it until it was performed
	})
}

// Observe calls f for each notification called name, until the process ends, on the thread that posts it: for AppKit's
// own that is the main thread.
func Observe(center foundation.INotificationCenter, name string, f func()) {
	// The centre does not retain its observers, so the +1 of Wrap is kept.
	target, sel := action.Wrap(func(objc.Object) { f() })
	center.AddObserverSelectorNameObject(target, sel, foundation.NotificationName(name), nil)
}

// CallBOOL sends a message that answers a BOOL. objc.Call[bool] would give libffi one byte to store eight in.
func CallBOOL(o objc.Handle, selector string, args ...any) bool {
	return objc.Call[uint64](o, objc.Sel(selector), args...)&0xff != 0
}

// Class returns a class of a framework that darwinkit has no bindings for, loading the framework if need be.
func Class(framework, name string) (objc.Class, error) {
	bundle := foundation.Bundle_BundleWithPath("/System/Library/Frameworks/" + framework + ".framework")
	if bundle.IsNil() || !CallBOOL(bundle, "load") {
		return objc.Class{}, fmt.Errorf("loading the framework %s: macOS does not have it", framework)
	}
	class := objc.GetClass(name)
	if class.Ptr() == nil {
		return objc.Class{}, fmt.Errorf("looking up %s in %s: this version of macOS does not have it", name, framework)
	}
	return class, nil
}

// Bundled says whether the program runs from an application bundle, which some of macOS' services insist on.
func Bundled() bool {
	var id string
	objc.WithAutoreleasePool(func() { id = foundation.Bundle_MainBundle().BundleIdentifier() })
	return id != ""
}

// ModalOpen says whether a dialog is open. On the main thread only.
func ModalOpen() bool { return !appkit.Application_SharedApplication().ModalWindow().IsNil() }

// StopModal closes the dialog that is open, answering code. On the main thread only.
func StopModal(code appkit.ModalResponse) {
	app := appkit.Application_SharedApplication()
	app.StopModalWithCode(code)
	// The modal loop looks at the code after its next event, so there must be one.
	app.PostEventAtStart(
		appkit.Event_OtherEventWithTypeLocationModifierFlagsTimestampWindowNumberContextSubtypeData1Data2(
			appkit.EventTypeApplicationDefined, foundation.Point{}, 0, 0, 0, nil, 0, 0, 0), false)
}
