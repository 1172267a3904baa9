//go:build cgo

package desktop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/progrium/darwinkit/macos/foundation"
	"github.com/progrium/darwinkit/objc"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
	"github.com/calmenu/calmenu/internal/hint"
)

const (
	hasAppKit = true

	authorizeSound = 1 << 1 // UNAuthorizationOptionSound
	authorizeAlert = 1 << 2 // UNAuthorizationOptionAlert
)

func loopRuns() bool { return cocoa.LoopRuns() }

// canNotify says whether notifications can be the program's own: currentNotificationCenter raises outside a bundle, and
// asking for permission needs a block, which is safe only in a build made for it.
func canNotify() bool { return cocoa.Bundled() && cocoa.CheckBuild() == nil }

var (
	// permission is asked for once in a process, at its first notification, and answered when the person has.
	permission = sync.OnceValue(askPermission)
	posted     atomic.Uint64
)

// granted is the person's answer to the question for permission, readable once done is closed.
type granted struct {
	done chan struct{}
	err  error
}

func askPermission() *granted {
	g := &granted{done: make(chan struct{})}
	answer := sync.OnceFunc(func() { close(g.done) })
	objc.WithAutoreleasePool(func() {
		center, err := notificationCenter()
		if err != nil {
			g.err = err
			answer()
			return
		}
		// The only block this package makes: it is called on a thread of the system's.
		objc.Call[objc.Void](center, objc.Sel("requestAuthorizationWithOptions:completionHandler:"),
			uint(authorizeSound|authorizeAlert), func(ok bool, problem foundation.Error) {
				switch {
				case !problem.IsNil():
					g.err = errors.New(problem.LocalizedDescription())
				case !ok:
					g.err = errors.New("notifications of CALMenu are switched off")
				}
				answer()
			})
	})
	return g
}

func notificationCenter() (objc.Object, error) {
	class, err := cocoa.Class("UserNotifications", "UNUserNotificationCenter")
	if err != nil {
		return objc.Object{}, err
	}
	return objc.Call[objc.Object](class, objc.Sel("currentNotificationCenter")), nil
}

// notify posts n. macOS does not say whether it was shown: that is the person's setting.
func notify(ctx context.Context, n Notification) error {
	g := permission()
	select {
	case <-g.done:
	case <-ctx.Done():
		return fmt.Errorf("waiting for permission to notify: %w", context.Cause(ctx))
	}
	if g.err != nil {
		return hint.Wrap(g.err, "Allow them in System Settings > Notifications > CALMenu, and start CALMenu again.")
	}
	id := fmt.Sprintf("calmenu-%d-%d", time.Now().UnixNano(), posted.Add(1))
	var failed error
	objc.WithAutoreleasePool(func() {
		center, err := notificationCenter()
		if err != nil {
			failed = err
			return
		}
		content := objc.Call[objc.Object](objc.GetClass("UNMutableNotificationContent"), objc.Sel("new"))
		content.Autorelease()
		objc.Call[objc.Void](content, objc.Sel("setTitle:"), cText(n.Title))
		objc.Call[objc.Void](content, objc.Sel("setBody:"), cText(n.Body))
		request := objc.Call[objc.Object](objc.GetClass("UNNotificationRequest"),
			objc.Sel("requestWithIdentifier:content:trigger:"), id, content, nil)
		objc.Call[objc.Void](center, objc.Sel("addNotificationRequest:withCompletionHandler:"), request, nil)
	})
	return failed
}
