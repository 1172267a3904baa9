//go:build !cgo

package shell

import "errors"

// withoutAppKit lets everything else be compiled and checked where there is no SDK.
type withoutAppKit struct{}

func newSystem() system { return withoutAppKit{} }

func (withoutAppKit) prepare(hooks) error {
	return errors.New("starting the menu bar: this build has no AppKit (built without cgo)")
}

func (withoutAppKit) release(done func()) { done() }

// StartsAtLogin is for an application bundle to know.
func StartsAtLogin() LoginItem { return LoginUnavailable }

// SetStartAtLogin is for an application bundle to do.
func SetStartAtLogin(bool) error {
	return errors.New("changing the login item: this build has no AppKit (built without cgo)")
}
