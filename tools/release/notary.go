package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

const (
	xcrun = "/usr/bin/xcrun"
	spctl = "/usr/sbin/spctl"

	// notaryWait bounds how long Apple is waited for; it takes a few minutes as a rule.
	notaryWait = "45m"
)

// notarize has Apple check the application and then the disk image with it, attaches both tickets, and has macOS judge
// both as it will on the Mac of a person who has downloaded them. Both, because a copy of the application alone is what
// stays on that Mac, and it must start without a network too.
func notarize(ctx context.Context, m *machine, o order) error {
	if err := m.onMac("notarising", "notarytool"); err != nil {
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
	if _, err := m.step(ctx, "checking the signature", "Run `make app` with CODESIGN_IDENTITY set.",
		codesign, "--verify", "--deep", "--strict", "--verbose=2", o.app); err != nil {
		return err
	}
	archive := filepath.Join(o.out, app.Name+"-notarize.zip")
	defer os.Remove(archive)
	_, err = m.step(ctx, "packing "+o.app, "", "/usr/bin/ditto", "-c", "-k", "--keepParent", o.app, archive)
	if err != nil {
		return err
	}
	if err := submit(ctx, m, o, archive); err != nil {
		return err
	}
	if err := staple(ctx, m, o.app); err != nil {
		return err
	}
	if err := assess(ctx, m, o.app, "execute"); err != nil {
		return err
	}
	path, err := image(ctx, m, o)
	if err != nil {
		return err
	}
	if err := submit(ctx, m, o, path); err != nil {
		return err
	}
	if err := staple(ctx, m, path); err != nil {
		return err
	}
	if err := assess(ctx, m, path, "open", "--context", "context:primary-signature"); err != nil {
		return err
	}
	fmt.Fprintf(m.say, "%s is signed, notarised and stapled\n", path)
	return nil
}

// submit sends a file to Apple and waits for the verdict. The credentials are in the keychain, under the profile's
// name.
func submit(ctx context.Context, m *machine, o order, path string) error {
	credentials := []string{"--keychain-profile", o.profile}
	if o.keychain != "" {
		credentials = append(credentials, "--keychain", o.keychain)
	}
	argv := append([]string{xcrun, "notarytool", "submit", path}, credentials...)
	argv = append(argv, "--wait", "--timeout", notaryWait, "--output-format", "json")
	out, failed := m.step(ctx, "sending "+path+" to Apple, and waiting for the verdict",
		"Credentials: xcrun notarytool store-credentials "+o.profile+". Apple's side: developer.apple.com/system-status",
		argv...)
	var verdict struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	// notarytool ends with 0 for what Apple refused, in some versions, and with 1 in others; the status says which.
	if err := json.Unmarshal([]byte(strings.TrimSpace(out.stdout)), &verdict); err != nil || verdict.ID == "" {
		if failed == nil {
			failed = fmt.Errorf("notarising %s: reading Apple's answer: %w\n%s", path, err, out.all)
		}
		return failed
	}
	if verdict.Status == "Accepted" {
		return failed
	}
	if verdict.Status != "Invalid" && verdict.Status != "Rejected" {
		return hint.Errorf("Ask for the verdict later: xcrun notarytool info "+verdict.ID+" --keychain-profile "+o.profile,
			"notarising %s: Apple has not decided within %s (%s)", path, notaryWait, verdict.Status)
	}
	argv = append([]string{xcrun, "notarytool", "log", verdict.ID}, credentials...)
	said, err := m.step(ctx, "asking Apple for the reasons", "", argv...)
	if err != nil {
		said.all = verdict.Message
	}
	return hint.Errorf(
		"Each issue names a file; most are a part that was not signed with the hardened runtime and a time stamp.",
		"notarising %s: Apple refused it\n%s", path, strings.TrimSpace(said.all))
}

// staple attaches Apple's ticket to path, so that it opens without a network.
func staple(ctx context.Context, m *machine, path string) error {
	const advice = "Apple's ticket can take a minute to be there after the verdict: try make notarize again."
	if _, err := m.step(ctx, "attaching Apple's ticket to "+path, advice, xcrun, "stapler", "staple", path); err != nil {
		return err
	}
	_, err := m.step(ctx, "checking the ticket of "+path, advice, xcrun, "stapler", "validate", path)
	return err
}

// assess has Gatekeeper judge path.
func assess(ctx context.Context, m *machine, path, kind string, more ...string) error {
	argv := append([]string{spctl, "--assess", "--type", kind}, more...)
	_, err := m.step(ctx, "asking Gatekeeper about "+path, "spctl --status says whether Gatekeeper is on on this Mac.",
		append(argv, "--verbose=2", path)...)
	return err
}
