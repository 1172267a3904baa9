package sign

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// notaryWait bounds how long Apple is waited for; it takes a few minutes as a rule.
const notaryWait = "45m"

// Credentials say where notarytool finds what it signs in with: the keychain has it, under a profile's name.
type Credentials struct {
	Profile  string
	Keychain string // file of the keychain, if it is not the login keychain
}

func (c Credentials) flags() []string {
	argv := []string{"--keychain-profile", c.Profile}
	if c.Keychain != "" {
		argv = append(argv, "--keychain", c.Keychain)
	}
	return argv
}

// Submit sends a file to Apple and waits for the verdict.
func (m *Mac) Submit(ctx context.Context, c Credentials, path string) error {
	argv := append([]string{Xcrun, "notarytool", "submit", path}, c.flags()...)
	argv = append(argv, "--wait", "--timeout", notaryWait, "--output-format", "json")
	out, failed := m.Step(ctx, "sending "+path+" to Apple, and waiting for the verdict",
		"Credentials: xcrun notarytool store-credentials "+c.Profile+". Apple's side: developer.apple.com/system-status",
		argv...)
	var verdict struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	// notarytool ends with 0 for what Apple refused, in some versions, and with 1 in others; the status says which.
	if err := json.Unmarshal([]byte(strings.TrimSpace(out.Stdout)), &verdict); err != nil || verdict.ID == "" {
		if failed == nil {
			failed = fmt.Errorf("notarising %s: reading Apple's answer: %w\n%s", path, err, out.All)
		}
		return failed
	}
	if verdict.Status == "Accepted" {
		return failed
	}
	if verdict.Status != "Invalid" && verdict.Status != "Rejected" {
		return hint.Errorf("Ask for the verdict later: xcrun notarytool info "+verdict.ID+" --keychain-profile "+c.Profile,
			"notarising %s: Apple has not decided within %s (%s)", path, notaryWait, verdict.Status)
	}
	said, err := m.Step(ctx, "asking Apple for the reasons", "",
		append([]string{Xcrun, "notarytool", "log", verdict.ID}, c.flags()...)...)
	if err != nil {
		said.All = verdict.Message
	}
	return hint.Errorf(
		"Each issue names a file; most are a part that was not signed with the hardened runtime and a time stamp.",
		"notarising %s: Apple refused it\n%s", path, strings.TrimSpace(said.All))
}

// Staple attaches Apple's ticket to path, so that it opens without a network.
func (m *Mac) Staple(ctx context.Context, path string) error {
	const advice = "Apple's ticket can take a minute to be there after the verdict: try again."
	if _, err := m.Step(ctx, "attaching Apple's ticket to "+path, advice, Xcrun, "stapler", "staple", path); err != nil {
		return err
	}
	_, err := m.Step(ctx, "checking the ticket of "+path, advice, Xcrun, "stapler", "validate", path)
	return err
}
