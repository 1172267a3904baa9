package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/sign"
)

// notarize has Apple check the application and then the disk image with it, attaches both tickets, and has macOS judge
// both as it will on the Mac of a person who has downloaded them. Both, because a copy of the application alone is what
// stays on that Mac, and it must start without a network too.
func notarize(ctx context.Context, m *sign.Mac, o order) error {
	if err := onMac(m, "notarising", "notarytool"); err != nil {
		return err
	}
	app, err := readApp(o.app)
	if err != nil {
		return err
	}
	switch {
	case o.identity == adHoc || o.identity == "":
		return hint.Errorf("Set CODESIGN_IDENTITY; security find-identity -v -p codesigning lists identities.",
			"notarising: Apple takes only what is signed with a Developer ID")
	case o.profile == "":
		return hint.Errorf("Set NOTARY_PROFILE to the name given to: xcrun notarytool store-credentials NAME",
			"notarising: there is no profile with credentials")
	}
	if err := app.released(); err != nil {
		return fmt.Errorf("notarising: %w", err)
	}
	if _, err := m.Step(ctx, "checking the signature", "Run `make app` with CODESIGN_IDENTITY set.",
		sign.Verification(o.app)...); err != nil {
		return err
	}
	archive := filepath.Join(o.out, app.Name+"-notarize.zip")
	defer os.Remove(archive)
	_, err = m.Step(ctx, "packing "+o.app, "", sign.Ditto, "-c", "-k", "--keepParent", o.app, archive)
	if err != nil {
		return err
	}
	if err := m.Submit(ctx, o.credentials(), archive); err != nil {
		return err
	}
	if err := m.Staple(ctx, o.app); err != nil {
		return err
	}
	if err := assess(ctx, m, o.app, "execute"); err != nil {
		return err
	}
	path, err := image(ctx, m, o)
	if err != nil {
		return err
	}
	if err := m.Submit(ctx, o.credentials(), path); err != nil {
		return err
	}
	if err := m.Staple(ctx, path); err != nil {
		return err
	}
	if err := assess(ctx, m, path, "open", "--context", "context:primary-signature"); err != nil {
		return err
	}
	fmt.Fprintf(m.Say, "%s is signed, notarised and stapled\n", path)
	return nil
}

// assess has Gatekeeper judge path.
func assess(ctx context.Context, m *sign.Mac, path, kind string, more ...string) error {
	argv := append([]string{sign.Spctl, "--assess", "--type", kind}, more...)
	_, err := m.Step(ctx, "asking Gatekeeper about "+path, "spctl --status says whether Gatekeeper is on on this Mac.",
		append(argv, "--verbose=2", path)...)
	return err
}
