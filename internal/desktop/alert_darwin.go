//go:build cgo

package desktop

import (
	"github.com/progrium/darwinkit/macos/appkit"
	"github.com/progrium/darwinkit/macos/foundation"
	"github.com/progrium/darwinkit/objc"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
)

// stopped is what a dialog answers that was closed by the program; buttons answer from AlertFirstButtonReturn on.
const stopped appkit.ModalResponse = -1

// fieldFrame is the size of a field in a dialog, in points.
var fieldFrame = foundation.Rect{Size: foundation.Size{Width: 320, Height: 24}}

// cocoaHost shows questions as alerts.
type cocoaHost struct{}

func (cocoaHost) onMain(f func()) { cocoa.OnMain(f) }

func (cocoaHost) stop() { cocoa.StopModal(stopped) }

func (cocoaHost) run(q Question) Answer {
	answer := Answer{Cancelled: true}
	objc.WithAutoreleasePool(func() { answer = runAlert(q) })
	return answer
}

func runAlert(q Question) Answer {
	alert := appkit.NewAlert()
	if q.Kind == Warn {
		alert.SetAlertStyle(appkit.AlertStyleWarning)
	}
	alert.SetMessageText(cText(q.Title))
	alert.SetInformativeText(cText(q.Text))
	titles, cancel := modalButtons(q)
	for i, title := range titles {
		button := alert.AddButtonWithTitle(cText(title)) // the first takes Return by itself
		if i == cancel {
			button.SetKeyEquivalent("\x1b") // AppKit gives Escape only to a button called Cancel in its language
		}
	}
	text, choice := accessory(alert, q)

	window := alert.Window()
	window.SetLevel(appkit.FloatingWindowLevel)
	appkit.Application_SharedApplication().ActivateIgnoringOtherApps(true)
	response := alert.RunModal()
	window.OrderOut(nil)

	return modalAnswer(q, int(response-appkit.AlertFirstButtonReturn), text(), choice())
}

// accessory puts q's field into the alert and returns how to read it.
func accessory(alert appkit.Alert, q Question) (text func() string, choice func() int) {
	text, choice = func() string { return "" }, func() int { return -1 }
	switch q.Kind {
	case Entry:
		field := appkit.NewTextFieldWithFrame(fieldFrame)
		field.SetStringValue(cText(q.Initial))
		alert.SetAccessoryView(field)
		alert.Window().SetInitialFirstResponder(field)
		text = field.StringValue
	case Text:
		// A field, not a text view: it scrolls not, but has the cursor, undo and paste by itself. Option-Return begins a line.
		frame := fieldFrame
		frame.Size.Height = 120
		field := appkit.NewTextFieldWithFrame(frame)
		field.SetStringValue(cText(q.Initial))
		alert.SetAccessoryView(field)
		alert.Window().SetInitialFirstResponder(field)
		text = field.StringValue
	case Password:
		field := appkit.NewSecureTextFieldWithFrame(fieldFrame)
		alert.SetAccessoryView(field)
		alert.Window().SetInitialFirstResponder(field)
		text = field.StringValue
	case List:
		list := appkit.NewPopUpButtonWithFramePullsDown(fieldFrame, false)
		for _, c := range q.Choices {
			// By way of its menu: the button's own method drops an older entry of the same title.
			list.Menu().AddItemWithTitleActionKeyEquivalent(cText(c), objc.Selector{}, "")
		}
		alert.SetAccessoryView(list)
		alert.Window().SetInitialFirstResponder(list)
		choice = list.IndexOfSelectedItem
	}
	return text, choice
}
