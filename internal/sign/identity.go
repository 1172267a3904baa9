package sign

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
)

// Identity is a certificate with its private key in a keychain.
type Identity struct {
	Hash string `json:"hash"` // SHA-1 of the certificate, by which codesign takes it too
	Name string `json:"name"`
	Team string `json:"team,omitempty"`
	// Installer signs packages, and nothing else; the others sign code.
	Installer bool `json:"installer,omitempty"`
}

// identityLine is one of `security find-identity -v`: number, hash, name.
var identityLine = lazyre.New(`^\s*\d+\) ([0-9A-F]{40}) "([^"]{1,300})"\s*$`)

// teamOf finds the team at the end of an identity's name.
var teamOf = lazyre.New(`\(([A-Z0-9]{10})\)$`)

// parseIdentities reads what `security find-identity -v` prints.
func parseIdentities(text string) []Identity {
	var all []Identity
	for line := range strings.Lines(text) {
		m := identityLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil || slices.ContainsFunc(all, func(i Identity) bool { return i.Hash == m[1] }) {
			continue
		}
		i := Identity{Hash: m[1], Name: m[2], Installer: strings.Contains(m[2], "Installer:")}
		if t := teamOf.FindStringSubmatch(m[2]); t != nil {
			i.Team = t[1]
		}
		all = append(all, i)
	}
	return all
}

// Identities lists what the keychains hold that can sign: code, and packages.
func (m *Mac) Identities(ctx context.Context) ([]Identity, error) {
	const advice = "Unlock the login keychain, then try again."
	code, err := m.Step(ctx, "listing identities", advice, security, "find-identity", "-v", "-p", "codesigning")
	if err != nil {
		return nil, err
	}
	// Installer certificates are for no policy of their own; among all valid ones they are told by their name.
	all, err := m.Step(ctx, "listing identities for packages", advice, security, "find-identity", "-v", "-p", "basic")
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(parseIdentities(code.Stdout), func(i Identity) bool { return i.Installer })
	for _, i := range parseIdentities(all.Stdout) {
		if i.Installer {
			found = append(found, i)
		}
	}
	return found, nil
}

// choose finds the identity a person means: by hash, by name, or by a part of the name that only one has.
func choose(all []Identity, wanted string, installer bool) (Identity, error) {
	fit := slices.DeleteFunc(slices.Clone(all), func(i Identity) bool { return i.Installer != installer })
	var found []Identity
	for _, i := range fit {
		switch {
		case strings.EqualFold(i.Hash, wanted), i.Name == wanted:
			return i, nil
		case wanted != "" && strings.Contains(strings.ToLower(i.Name), strings.ToLower(wanted)):
			found = append(found, i)
		}
	}
	if wanted == "" {
		found = fit
	}
	if len(found) == 1 {
		return found[0], nil
	}
	const advice = "CALMenu sign --list shows the identities there are."
	what := "code"
	if installer {
		what = "packages"
	}
	switch {
	case len(fit) == 0:
		return Identity{}, hint.Errorf("Make a certificate in Xcode (Settings > Accounts), or unlock the keychain that holds it.",
			"choosing an identity: no keychain holds a valid one that signs %s", what)
	case len(found) == 0:
		return Identity{}, hint.Errorf(advice, "choosing an identity: none that signs %s is called %q", what, wanted)
	case wanted == "":
		return Identity{}, hint.Errorf(advice+" Give one with --identity.", "choosing an identity: there are %d that sign %s",
			len(found), what)
	}
	names := make([]string, len(found))
	for i := range found {
		names[i] = fmt.Sprintf("%q", found[i].Name)
	}
	return Identity{}, hint.Errorf(advice, "choosing an identity: %q is in the names of %s", wanted, strings.Join(names, " and "))
}
