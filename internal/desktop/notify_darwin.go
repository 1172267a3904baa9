//go:build cgo

package desktop

import (
	"context"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
)

const hasAppKit = true

func loopRuns() bool { return cocoa.LoopRuns() }

// canNotify says whether notifications can be the program's own: currentNotificationCenter raises outside a bundle, and
// only a program with a run loop is told of clicks.
func canNotify() bool { return cocoa.LoopRuns() && cocoa.Bundled() }

// cocoaCenter is macOS' own notification centre.
type cocoaCenter struct{ cocoa.Notes }

func (c cocoaCenter) authorize(answer func(granted bool, problem string)) { c.Authorize(answer) }
func (c cocoaCenter) categories(all map[string][]string)                  { c.Categories(all) }
func (c cocoaCenter) post(id, title, body, category string)               { c.Post(id, title, body, category) }
func (c cocoaCenter) withdraw(id string)                                  { c.Withdraw(id) }
func (c cocoaCenter) respond(f func(id, key string))                      { c.Respond(f) }

// lazyNotes is the centre from the first notification on: there is one in a process.
func lazyNotes(over context.Context) func() *notes {
	return sync.OnceValue(func() *notes { return newNotes(over, cocoaCenter{}) })
}

// NotificationsAllowed is what the person has set for CALMenu; false outside of its application, where macOS keeps no
// such setting.
func NotificationsAllowed(ctx context.Context) (Permission, bool) {
	if !cocoa.Bundled() {
		return Permission{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	said, err := cocoa.Notes{}.Allowed(ctx)
	switch {
	case err != nil:
		return Permission{Detail: err.Error(), Hint: allowHint}, true
	case said == "denied":
		return Permission{Detail: "switched off by you", Hint: allowHint}, true
	}
	return Permission{OK: true, Detail: said}, true
}
