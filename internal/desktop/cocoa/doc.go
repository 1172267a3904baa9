// Package cocoa holds the few ways in which CALMenu calls Cocoa and Cocoa calls CALMenu. It is empty but for the check
// of the build where there is no Cocoa.
//
// What must hold, because darwinkit v0.5.0 and AppKit punish the opposite: callbacks enter Go through plain C
// (helper/action) and never through a libffi closure; a BOOL is read through eight bytes; what an observer is called on
// is retained for as long as it observes; AppKit is touched on the main thread, and nothing waits there for another
// goroutine.
package cocoa
