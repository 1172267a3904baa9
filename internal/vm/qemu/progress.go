package qemu

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/vm"
)

// buildLog reads the output of mmdebstrap --verbose: it reports progress and keeps the last lines for an error.
type buildLog struct {
	report vm.Progress
	line   []byte
	tail   []string

	phase    vm.Phase
	packages int64 // to install, as far as apt has said
	fetched  int64
	steps    int64 // packages unpacked plus packages set up
}

const tailLines = 30

var newlyInstalled = lazyre.New(`(\d+) newly installed`)

// Write takes output as it comes. It never fails.
func (b *buildLog) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n' || c == '\r':
			if len(b.line) > 0 {
				b.take(string(b.line))
			}
			b.line = b.line[:0]
		case len(b.line) < 4096:
			b.line = append(b.line, c)
		}
	}
	return len(p), nil
}

func (b *buildLog) take(line string) {
	if b.tail = append(b.tail, line); len(b.tail) > tailLines {
		b.tail = b.tail[1:]
	}
	before := b.phase
	b.advance(line)
	if b.phase != before {
		b.report.Report(b.phase)
	}
}

func (b *buildLog) advance(line string) {
	if m := newlyInstalled.FindStringSubmatch(line); m != nil {
		n, _ := strconv.ParseInt(m[1], 10, 32)
		b.packages += n
		return
	}
	switch {
	case strings.HasPrefix(line, "I: running apt-get update"):
		b.phase = vm.Phase{Name: "reading package lists"}
	case strings.HasPrefix(line, "Get:") && b.packages > 0:
		b.fetched++
		b.phase = vm.Phase{Name: "downloading packages", Done: min(b.fetched, b.packages), Total: b.packages}
	case strings.HasPrefix(line, "Unpacking "), strings.HasPrefix(line, "Setting up "):
		b.steps++
		b.phase = vm.Phase{Name: "installing packages", Done: min(b.steps, 2*b.packages), Total: 2 * b.packages}
	case strings.HasPrefix(line, "I: running --customize-hook"):
		b.phase = vm.Phase{Name: "setting up the guest"}
	}
}

const networkHint = "Check the network connection and apt's proxy settings, then try again."

// failures are the ways a build fails that a person can do something about, by what the tools say.
var failures = []struct {
	pattern *lazyre.Regexp
	says    string
	hint    string
	wrap    error
}{
	{
		lazyre.New(`(?i)no space left on device|not enough free space|disk quota exceeded`),
		"the disk is full", "Free some disk space (an image takes about 4 GiB to build), or set CAL_CACHE to another disk.",
		vm.ErrNoSpace,
	},
	{
		lazyre.New(`(?i)could not resolve|temporary failure resolving|temporary failure in name resolution`),
		"the package archive's name cannot be resolved", networkHint,
		nil,
	},
	{
		lazyre.New(`(?i)(could not|unable to) connect|connection (refused|timed out|reset)|network is unreachable`),
		"the package archive cannot be reached", networkHint,
		nil,
	},
	{
		lazyre.New(`(?i)NO_PUBKEY|is not signed|invalid signature|EXPKEYSIG|no keyring`),
		"apt does not trust the package archive", "Install Debian's keys: `apt-get install debian-archive-keyring`.",
		nil,
	},
	{
		lazyre.New(`(?i)release file .*(expired|not valid yet)`),
		"the package archive's index is out of date",
		"Check the host's clock; for a frozen mirror set apt's Acquire::Check-Valid-Until.",
		nil,
	},
	{
		lazyre.New(`(?i)unable to locate package|has no installation candidate|\b404 +not found`),
		"the package archive lacks a package",
		"Check that the mirror in apt's sources is a complete Debian mirror with bookworm.",
		nil,
	},
	{
		lazyre.New(`(?i)newuidmap|newgidmap|/etc/subuid|/etc/subgid|unshare.*(not permitted|failed)`),
		"this account may not use user namespaces",
		"Install uidmap and give the account sub-ids: `sudo apt-get install uidmap && sudo usermod " +
			subordinateFlags + " $USER`.",
		nil,
	},
}

// explain turns the failure of a build step into one sentence with a hint.
func (b *buildLog) explain(step string, err error) error {
	text := strings.Join(append(b.tail, string(b.line)), "\n")
	for _, f := range failures {
		if !f.pattern.MatchString(text) {
			continue
		}
		cause := error(fmt.Errorf("%s (%w)", f.says, err))
		if f.wrap != nil {
			cause = fmt.Errorf("%s: %w", f.says, f.wrap)
		}
		return hint.Wrap(fmt.Errorf("%s: %w", step, cause), f.hint)
	}
	return hint.Errorf("The last lines of the tool's output say more; `CALMenu doctor` checks what the build needs.",
		"%s: %w: %s", step, err, b.lastErrors())
}

// lastErrors returns the last few lines that look like errors, or the last line.
func (b *buildLog) lastErrors() string {
	var picked []string
	for _, line := range b.tail {
		if strings.HasPrefix(line, "E: ") || strings.Contains(strings.ToLower(line), "error") {
			picked = append(picked, line)
		}
	}
	if len(picked) == 0 && len(b.tail) > 0 {
		picked = b.tail[len(b.tail)-1:]
	}
	return strings.Join(picked[max(0, len(picked)-3):], "; ")
}

// lastLine returns the last line of a tool's output that is not blank.
func lastLine(out []byte) string {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return string(bytes.TrimSpace(lines[len(lines)-1]))
}

// firstLine returns the first line of a tool's output.
func firstLine(out []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	return string(line)
}
