package main

import (
	"context"
	"fmt"
	"os"

	"github.com/calmenu/calmenu/internal/sign"
)

// adHoc signs with no identity: enough for the Mac it was built on.
const adHoc = sign.AdHoc

// signApp signs the bundle: what is nested in it first, then the bundle around it. The hardened runtime holds for ad hoc
// signatures too, so that what a developer runs is as limited as what is released.
func signApp(ctx context.Context, m *sign.Mac, o order) error {
	app, err := readApp(o.app)
	if err != nil {
		return err
	}
	if m.GOOS != "darwin" {
		// make app lays the bundle out anywhere; what it lacks there is said, not hidden.
		fmt.Fprintf(m.Say, "%s is not signed, which needs codesign of macOS: run make app on a Mac for one to use\n", o.app)
		return nil
	}
	entitlements, err := sign.PlainEntitlements(o.entitlements, "")
	if err != nil {
		return err
	}
	defer os.Remove(entitlements)
	nested, err := sign.NestedCode(o.app, app.Executable)
	if err != nil {
		return err
	}
	for _, path := range nested {
		// Entitlements are those of programs with a bundle of their own; nested code has none.
		if _, err := m.Step(ctx, "signing "+path, sign.SignAdvice, sign.Signature(o.identity, "", path)...); err != nil {
			return err
		}
	}
	if _, err := m.Step(ctx, "signing "+o.app, sign.SignAdvice, sign.Signature(o.identity, entitlements, o.app)...); err != nil {
		return err
	}
	_, err = m.Step(ctx, "checking the signature", sign.SignAdvice, sign.Verification(o.app)...)
	return err
}
