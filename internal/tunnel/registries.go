package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/netpolicy"
)

// HostRegistries are the package sources this host itself is configured for, as rules: the mirrors in its apt sources,
// and the npm registries of its npm (which knows its default by itself) and npmrc files. What is not there or cannot
// be read gives no rule. Sources on the host itself (loopback) give none either: the guest must not reach it.
func HostRegistries(ctx context.Context) []Rule {
	home, _ := os.UserHomeDir()
	return registries(ctx, registrySources{
		apt:   "/etc/apt",
		npmrc: []string{filepath.Join(home, ".npmrc"), "/etc/npmrc", "/usr/local/etc/npmrc", "/opt/homebrew/etc/npmrc"},
		env:   os.Environ(),
		npm:   npmRegistry,
	})
}

// registrySources is where the host's configuration is read.
type registrySources struct {
	apt   string   // apt's configuration directory
	npmrc []string // files; may be missing
	env   []string
	npm   func(context.Context) string // npm's own answer; "" if there is none
}

// maxConfig bounds what is read of one configuration file.
const maxConfig = 1 << 20

func registries(ctx context.Context, s registrySources) []Rule {
	var urls []string
	lists, _ := filepath.Glob(filepath.Join(s.apt, "sources.list.d", "*.list"))
	for _, name := range append([]string{filepath.Join(s.apt, "sources.list")}, lists...) {
		urls = append(urls, aptList(readConfig(name))...)
	}
	deb822, _ := filepath.Glob(filepath.Join(s.apt, "sources.list.d", "*.sources"))
	for _, name := range deb822 {
		urls = append(urls, aptSources(readConfig(name))...)
	}
	for _, name := range s.npmrc {
		urls = append(urls, npmrc(readConfig(name))...)
	}
	for _, entry := range s.env {
		if key, value, _ := strings.Cut(entry, "="); strings.EqualFold(key, "npm_config_registry") {
			urls = append(urls, value)
		}
	}
	urls = append(urls, s.npm(ctx))
	return SourceRules(urls)
}

// SourceRules makes rules of the URLs of package sources: their hosts and ports. What is no source on the network gives none.
func SourceRules(urls []string) []Rule {
	var rules []Rule
	seen := map[string]bool{}
	for _, u := range urls {
		if r, ok := sourceRule(u); ok && !seen[r.String()] {
			seen[r.String()] = true
			rules = append(rules, r)
		}
	}
	return rules
}

func readConfig(name string) []byte {
	f, err := os.Open(name) //nolint:gosec // the host's own configuration
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig))
	if err != nil {
		return nil
	}
	return data
}

// aptList reads the one-line format: deb [options] URI suite components.
func aptList(data []byte) (urls []string) {
	for line := range lines(data) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "deb" && fields[0] != "deb-src" {
			continue
		}
		fields = fields[1:]
		if strings.HasPrefix(fields[0], "[") {
			for len(fields) > 1 && !strings.HasSuffix(fields[0], "]") {
				fields = fields[1:]
			}
			fields = fields[1:]
		}
		if len(fields) > 0 {
			urls = append(urls, fields[0])
		}
	}
	return urls
}

// aptSources reads the deb822 format: stanzas with URIs fields, which may go on in indented lines.
func aptSources(data []byte) (urls []string) {
	var stanza []string
	enabled, inURIs := true, false
	flush := func() {
		if enabled {
			urls = append(urls, stanza...)
		}
		stanza, enabled, inURIs = nil, true, false
	}
	for line := range lines(data) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if strings.TrimSpace(line) == "" {
			flush()
			continue
		}
		value := line
		if line[0] != ' ' && line[0] != '\t' {
			var key string
			key, value, _ = strings.Cut(line, ":")
			inURIs = strings.EqualFold(key, "URIs")
			if strings.EqualFold(key, "Enabled") && strings.EqualFold(strings.TrimSpace(value), "no") {
				enabled = false
			}
		}
		if inURIs {
			stanza = append(stanza, strings.Fields(value)...)
		}
	}
	flush()
	return urls
}

// npmrc reads registry and @scope:registry.
func npmrc(data []byte) (urls []string) {
	for line := range lines(data) {
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if ok && (key == "registry" || strings.HasPrefix(key, "@") && strings.HasSuffix(key, ":registry")) {
			urls = append(urls, strings.Trim(strings.TrimSpace(value), `"'`))
		}
	}
	return urls
}

// npmRegistry asks npm itself, outside of any project.
func npmRegistry(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "config", "get", "registry")
	cmd.Dir = string(filepath.Separator)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// sourceRule makes a rule for the host and port of a source, if it is one on the network and not on this host.
func sourceRule(text string) (Rule, bool) {
	text = strings.TrimPrefix(text, "mirror+")
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return Rule{}, false
	}
	var port int
	switch u.Scheme {
	case "http":
		port = 80
	case "https":
		port = 443
	default:
		return Rule{}, false
	}
	if u.Port() != "" {
		if port, err = parsePort(u.Port()); err != nil {
			return Rule{}, false
		}
	}
	_, addr, err := canonical(u.Hostname())
	if err != nil {
		return Rule{}, false
	}
	if addr.IsValid() {
		if r, _ := netpolicy.Judge(addr, ownAddresses()); r == netpolicy.Never {
			return Rule{}, false
		}
	}
	r, err := netpolicy.ParseRule(hostPort(u.Hostname(), port))
	return r, err == nil
}

func lines(data []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		scanner := bufio.NewScanner(bytes.NewReader(data))
		scanner.Buffer(nil, maxConfig)
		for scanner.Scan() && yield(scanner.Text()) {
		}
	}
}
