//go:build cgo

package shell

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/progrium/darwinkit/macos/foundation"
	"github.com/progrium/darwinkit/objc"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop/cocoa"
)

func bundled() bool { return cocoa.Bundled() }

func (serviceManagement) state() (is state.LoginItem, failed error) {
	objc.WithAutoreleasePool(func() {
		service, err := mainAppService()
		if err != nil {
			failed = err
			return
		}
		switch status := objc.Call[int](service, objc.Sel("status")); status { // SMAppServiceStatus
		case 1:
			is = state.LoginOn
		case 2:
			is = state.LoginNeedsApproval
		case 0, 3: // 3, not found, is what macOS says of an application it has never registered
			is = state.LoginOff
		default:
			failed = fmt.Errorf("asking for the login item: unknown status %d", status)
		}
	})
	return is, failed
}

func (serviceManagement) set(on bool) error {
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
	return failed
}

func mainAppService() (objc.Object, error) {
	class, err := cocoa.Class("ServiceManagement", "SMAppService")
	if err != nil {
		return objc.Object{}, err
	}
	return objc.Call[objc.Object](class, objc.Sel("mainAppService")), nil
}
