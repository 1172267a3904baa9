//go:build cgo

package cocoa

/*
#cgo LDFLAGS: -framework Foundation -framework UserNotifications
#include <stdlib.h>
#include "notes_darwin.h"
*/
import "C"

import (
	"context"
	"fmt"
	"maps"
	"runtime/cgo"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Notes is macOS' notification centre, for a program in an application bundle: it raises in others.
type Notes struct{}

// maxActions is how many buttons macOS shows at most, and how many have a key.
const maxActions = 4

var (
	categories sync.Mutex // guards the set that is being collected
	respond    atomic.Pointer[func(id, key string)]
)

// ListenForClicks has the notification centre tell of clicks. It must be called on the main thread before the application
// has finished launching, so that the click that started it is not lost.
func ListenForClicks() { C.calmenu_notes_listen() }

// Respond has f called for each click, on a thread of the system's that f must not hold up.
func (Notes) Respond(f func(id, key string)) { respond.Store(&f) }

// Authorize asks the person for permission to notify, or macOS for what they said, and has answer called with it, on a
// thread of the system's. problem is why macOS could not ask.
func (Notes) Authorize(answer func(granted bool, problem string)) {
	C.calmenu_notes_authorize(C.uintptr_t(cgo.NewHandle(answer)))
}

// Categories says which sets of buttons notifications may have, by name.
func (Notes) Categories(all map[string][]string) {
	categories.Lock()
	defer categories.Unlock()
	C.calmenu_notes_categories_clear()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		addCategory(name, all[name])
	}
	C.calmenu_notes_categories_commit()
}

func addCategory(name string, labels []string) {
	var lines []string
	for _, l := range labels[:min(len(labels), maxActions)] {
		lines = append(lines, strings.ReplaceAll(l, "\n", " "))
	}
	cName, cLabels := C.CString(name), C.CString(strings.Join(lines, "\n"))
	defer C.free(unsafe.Pointer(cName))
	defer C.free(unsafe.Pointer(cLabels))
	C.calmenu_notes_category(cName, cLabels)
}

// Post shows a notification with the buttons of a category, "" for none.
func (Notes) Post(id, title, body, category string) {
	cID, cTitle, cBody, cCategory := C.CString(id), C.CString(title), C.CString(body), C.CString(category)
	defer C.free(unsafe.Pointer(cID))
	defer C.free(unsafe.Pointer(cTitle))
	defer C.free(unsafe.Pointer(cBody))
	defer C.free(unsafe.Pointer(cCategory))
	C.calmenu_notes_post(cID, cTitle, cBody, cCategory)
}

// Withdraw takes a notification off the screen and out of Notification Center.
func (Notes) Withdraw(id string) {
	cID := C.CString(id)
	defer C.free(unsafe.Pointer(cID))
	C.calmenu_notes_withdraw(cID)
}

// Allowed says what the person has set: "not asked yet", "denied", or "allowed".
func (Notes) Allowed(ctx context.Context) (string, error) {
	answer := make(chan int, 1)
	C.calmenu_notes_settings(C.uintptr_t(cgo.NewHandle(answer)))
	select {
	case status := <-answer: // UNAuthorizationStatus
		switch status {
		case 0:
			return "not asked yet", nil
		case 1:
			return "denied", nil
		case 2, 3, 4:
			return "allowed", nil
		}
		return "", fmt.Errorf("reading the settings of notifications: unknown status %d", status)
	case <-ctx.Done():
		return "", fmt.Errorf("reading the settings of notifications: %w", context.Cause(ctx))
	}
}

//export calmenuNotesAnswered
func calmenuNotesAnswered(request C.uintptr_t, granted C.int, problem *C.char) {
	h := cgo.Handle(request)
	answer := h.Value().(func(bool, string))
	h.Delete()
	answer(granted != 0, C.GoString(problem))
}

//export calmenuNotesSettings
func calmenuNotesSettings(request C.uintptr_t, status C.int) {
	h := cgo.Handle(request)
	answer := h.Value().(chan int)
	h.Delete()
	answer <- int(status) // has room
}

//export calmenuNotesClicked
func calmenuNotesClicked(id, key *C.char) {
	if f := respond.Load(); f != nil {
		(*f)(C.GoString(id), C.GoString(key))
	}
}
