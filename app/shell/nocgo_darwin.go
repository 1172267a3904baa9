//go:build !cgo

package shell

import (
	"context"
	"errors"

	"github.com/calmenu/calmenu/app/state"
)

// withoutAppKit lets everything else be compiled and checked where there is no SDK.
type withoutAppKit struct{}

func newSystem() system { return withoutAppKit{} }

func (withoutAppKit) prepare(hooks) error {
	return errors.New("starting the menu bar: this build has no AppKit (built without cgo)")
}

func (withoutAppKit) release(done func()) { done() }

// KeepAwake is for a build with AppKit to do.
func KeepAwake(context.Context, string) (release func(), err error) {
	return nil, errors.New("keeping the computer awake: this build has no AppKit (built without cgo)")
}

func (serviceManagement) state() (state.LoginItem, error) { return "", errNoService }

func (serviceManagement) set(bool) error { return errNoService }

func bundled() bool { return false }
