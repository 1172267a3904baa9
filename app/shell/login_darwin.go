//go:build cgo

package shell

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/progrium/darwinkit/macos/foundation"
	"github.com/progrium/darwinkit/objc"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
	"github.com/calmenu/calmenu/internal/hint"
)

// StartsAtLogin asks macOS (SMAppService, macOS 13) whether CALMenu.app is started at login.
func StartsAtLogin() LoginItem {
	state := LoginUnavailable
	if !cocoa.Bundled() {
		return state
	}
	objc.WithAutoreleasePool(func() {
		service, err := mainAppService()
		if err != nil {
			return
		}
		switch objc.Call[int](service, objc.Sel("status")) { // SMAppServiceStatus
		case 1:
			state = LoginOn
		case 2:
			state = LoginNeedsApproval
		case 0, 3: // 3, not found, is what macOS says of an application it has never registered
			state = LoginOff
		}
	})
	return state
}

// SetStartAtLogin has macOS start CALMenu.app at login, or no longer.
func SetStartAtLogin(on bool) error {
	if !cocoa.Bundled() {
		return hint.Errorf("Start CALMenu.app from the Finder, and choose it there.",
			"changing the login item: this program does not run from an application bundle")
	}
	selector := "unregisterAndReturnError:"
	if on {
		selector = "registerAndReturnError:"
	}
	var failed error
	objc.WithAutoreleasePool(func() {
		service, err := mainAppService()
		if err != nil {
			failed = err
			return
		}
		var problem unsafe.Pointer // NSError **
		if cocoa.CallBOOL(service, selector, unsafe.Pointer(&problem)) {
			return
		}
		failed = errors.New("macOS refused without a reason")
		if problem != nil {
			failed = errors.New(foundation.ErrorFrom(problem).LocalizedDescription())
		}
	})
	if failed != nil {
		return hint.Wrap(fmt.Errorf("changing the login item: %w", failed),
			"Look at System Settings > General > Login Items.")
	}
	return nil
}

func mainAppService() (objc.Object, error) {
	class, err := cocoa.Class("ServiceManagement", "SMAppService")
	if err != nil {
		return objc.Object{}, err
	}
	return objc.Call[objc.Object](class, objc.Sel("mainAppService")), nil
}
