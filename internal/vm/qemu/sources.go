package qemu

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/calmenu/calmenu/internal/lazyre"
)

// aptSource is one stanza of APT sources, as far as it matters for a debootstrap (sources.list(5)).
type aptSource struct {
	uris     []string
	suites   []string
	parts    []string // components
	signedBy string   // path of a keyring; empty is apt's default
}

// debianSources takes from a host's source files those of Debian itself and rewrites them from the host's release to
// the guest's. files maps a name (ending in .list or .sources) to its text, codename is the host's release. Sources of
// anybody else are left out: they are not made for the guest.
func debianSources(files []sourceFile, codename string) []aptSource {
	var all []aptSource
	for _, f := range files {
		var found []aptSource
		if strings.HasSuffix(f.name, ".sources") {
			found = parseDeb822(f.text)
		} else {
			found = parseSourcesList(f.text)
		}
		for _, s := range found {
			if s, ok := s.forGuest(codename); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

type sourceFile struct{ name, text string }

// forGuest returns the stanza with the guest's suites, or false if it is not a Debian archive of the host's release.
func (s aptSource) forGuest(codename string) (aptSource, bool) {
	if !s.ofDebian() || !contains(s.parts, "main") {
		return s, false
	}
	var suites []string
	for _, name := range s.suites {
		if mapped, ok := guestSuite(name, codename); ok && !contains(suites, mapped) {
			suites = append(suites, mapped)
		}
	}
	s.suites = suites
	s.parts = []string{"main"}
	return s, len(suites) > 0
}

// ofDebian tells a Debian archive or mirror from another vendor's that uses the same suite names: by the keyring, or
// without one by the last word of the address.
func (s aptSource) ofDebian() bool {
	for _, uri := range s.uris {
		if !strings.HasPrefix(uri, "http://") && !strings.HasPrefix(uri, "https://") {
			return false
		}
	}
	if len(s.uris) == 0 {
		return false
	}
	if s.signedBy != "" {
		return strings.Contains(path.Base(s.signedBy), "debian-archive")
	}
	base := path.Base(strings.TrimRight(s.uris[0], "/"))
	return base == "debian" || base == "debian-security"
}

// guestSuite maps a suite of the host's release ("trixie", "stable-updates") to the guest's.
func guestSuite(name, codename string) (string, bool) {
	base, pocket, _ := strings.Cut(name, "-")
	if base != codename && !contains([]string{"stable", "oldstable", "testing", "unstable", "sid"}, base) {
		return "", false
	}
	switch pocket {
	case "":
		return suite, true
	case "updates", "security":
		return suite + "-" + pocket, true
	}
	return "", false
}

// parseSourcesList reads the one-line format.
func parseSourcesList(text string) []aptSource {
	var all []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind != "deb" {
			continue
		}
		var s aptSource
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			for _, option := range strings.Fields(options) {
				if key, value, _ := strings.Cut(option, "="); strings.EqualFold(key, "signed-by") {
					s.signedBy = value
				}
			}
			rest = after
		}
		fields := strings.Fields(rest)
		if len(fields) < 3 {
			continue
		}
		s.uris, s.suites, s.parts = fields[:1], fields[1:2], fields[2:]
		all = append(all, s)
	}
	return all
}

// parseDeb822 reads the stanza format. A key given inline in Signed-By is kept as "inline", which is no Debian keyring.
func parseDeb822(text string) []aptSource {
	var all []aptSource
	for _, stanza := range regexp.MustCompile(`\n[ \t]*\n`).Split(strings.ReplaceAll(text, "\r", ""), -1) {
		fields := deb822Fields(stanza)
		if !contains(strings.Fields(fields["types"]), "deb") || strings.EqualFold(fields["enabled"], "no") {
			continue
		}
		s := aptSource{
			uris:     strings.Fields(fields["uris"]),
			suites:   strings.Fields(fields["suites"]),
			parts:    strings.Fields(fields["components"]),
			signedBy: fields["signed-by"],
		}
		if strings.Contains(s.signedBy, "PGP") {
			s.signedBy = "inline"
		}
		all = append(all, s)
	}
	return all
}

func deb822Fields(stanza string) map[string]string {
	fields := map[string]string{}
	last := ""
	for line := range strings.Lines(stanza) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " "), strings.HasPrefix(line, "\t"):
			if last != "" {
				fields[last] += " " + strings.TrimSpace(line)
			}
		default:
			key, value, ok := strings.Cut(line, ":")
			if last = ""; ok {
				last = strings.ToLower(strings.TrimSpace(key))
				fields[last] = strings.TrimSpace(value)
			}
		}
	}
	return fields
}

// lines renders sources in the one-line format, which mmdebstrap takes as its mirror arguments.
func sourceLines(sources []aptSource) []string {
	var all []string
	for _, s := range sources {
		option := ""
		if s.signedBy != "" {
			option = "[signed-by=" + s.signedBy + "] "
		}
		for _, uri := range s.uris {
			for _, name := range s.suites {
				all = append(all, fmt.Sprintf("deb %s%s %s %s", option, uri, name, strings.Join(s.parts, " ")))
			}
		}
	}
	return all
}

var (
	passedSetting = lazyre.New(
		`(?i)^Acquire::(Check-Valid-Until|Check-Date|Retries|https?::(Proxy|CAInfo|Verify-Peer|Timeout)(::\S+)?) ".*";$`)
	emptySetting = lazyre.New(` "";$`)
)

// passedSettings picks from `apt-config dump` what the host needs to reach its package archive at all: proxies, and
// checks its administrator turned off for a frozen mirror.
func passedSettings(dump string) []string {
	var all []string
	for line := range strings.Lines(dump) {
		line = strings.TrimSpace(line)
		if passedSetting.MatchString(line) && !emptySetting.MatchString(line) {
			all = append(all, strings.TrimSuffix(line, ";"))
		}
	}
	return all
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
