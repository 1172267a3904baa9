//go:build !cgo

package desktop

import "context"

// Without cgo there is no AppKit. Detect says so and makes no desktop, so nothing here is reached but hasAppKit; it
// lets everything else be compiled and checked where there is no SDK.
const hasAppKit = false

type cocoaHost struct{}

func (cocoaHost) onMain(func())       {}
func (cocoaHost) run(Question) Answer { return Answer{Cancelled: true} }
func (cocoaHost) stop()               {}

func loopRuns() bool  { return false }
func canNotify() bool { return false }

func lazyNotes(context.Context) func() *notes { return func() *notes { return nil } }

// NotificationsAllowed says nothing: macOS keeps that setting for applications.
func NotificationsAllowed(context.Context) (Permission, bool) { return Permission{}, false }
