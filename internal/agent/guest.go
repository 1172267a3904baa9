package agent

import (
	"slices"
	"strings"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/lazyre"
)

// path is where installers put programs that a guest's non-login shell does not look for: npm and pipx below the home,
// Homebrew on Apple silicon.
const path = `PATH="$HOME/.local/bin:$PATH:/opt/homebrew/bin:/usr/local/bin"; export PATH; `

// InGuest returns argv that runs a command of the catalogue with the PATH its programs are installed on.
func InGuest(argv []string) []string {
	return append([]string{"sh", "-c", path + `exec "$@"`, "cal"}, argv...)
}

// surveyHead reads a version from the package.json beside an npm program, in the shell itself: under emulation a process
// costs a tenth of a second, and node many of them.
const surveyHead = path + `v() {
p=$(command -v "$1") || return 0
f=${p%/bin/*}/lib/node_modules/$2/package.json
[ -f "$f" ] || return 0
while IFS= read -r l || [ -n "$l" ]; do case $l in *'"version":'*)
l=${l#*'"version":'}; l=${l#*\"}; printf %s "${l%%\"*}"; return 0;; esac; done <"$f"
}
`

// SurveyCommand returns the one command that finds out which of the agents are installed, in which version.
func SurveyCommand(list List) []string {
	var b strings.Builder
	b.WriteString(surveyHead)
	for _, a := range list {
		version := ""
		if p := program(a.Probe); p != "" && a.Package != "" {
			version = "$(v " + guest.Quote([]string{p, a.Package}) + ")"
		}
		b.WriteString("if " + probes(a.Probe) + `; then printf '%s\t%s\n' ` + a.ID + ` "` + version + "\"; fi\n")
	}
	b.WriteString(":\n")
	return []string{"sh", "-c", b.String()}
}

// probes is the shell's question whether one of the probes succeeds.
func probes(all [][]string) string {
	if len(all) == 0 {
		return ":"
	}
	words := make([]string, len(all))
	for i, argv := range all {
		words[i] = "(" + guest.Quote(argv) + ") </dev/null >/dev/null 2>&1"
		if p := lookedFor(argv); p != "" {
			words[i] = "command -v " + guest.Quote([]string{p}) + " >/dev/null 2>&1"
		}
	}
	return strings.Join(words, " || ")
}

// lookedFor is the program a probe of the usual form looks for.
func lookedFor(argv []string) string {
	if len(argv) == 5 && slices.Equal(argv[:4], []string{"sh", "-c", `command -v "$1"`, "sh"}) {
		return argv[4]
	}
	return ""
}

func program(probe [][]string) string {
	if len(probe) == 0 {
		return ""
	}
	return lookedFor(probe[0])
}

// Found is what a survey says of one installed agent.
type Found struct {
	Version string // empty: not known
}

var (
	versionRE = lazyre.New(`^v?[0-9][0-9A-Za-z.+_-]{0,39}$`)
	wordRE    = lazyre.New(`[^\s(),;]+`)
)

// ParseSurvey reads what SurveyCommand printed: the agents of the list that are installed, by identifier. Lines it does
// not know are passed over: the guest may print anything.
func ParseSurvey(list List, output []byte) map[string]Found {
	found := map[string]Found{}
	for line := range strings.Lines(string(output)) {
		id, version, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "\t")
		if !ok || !slices.ContainsFunc(list, func(a Agent) bool { return a.ID == id }) {
			continue
		}
		if !versionRE.MatchString(version) {
			version = ""
		}
		found[id] = Found{Version: version}
	}
	return found
}

// ParseVersion finds the version in what a program prints when asked for it; empty if there is none.
func ParseVersion(output []byte) string {
	const most = 4096
	for _, word := range wordRE.FindAllString(string(output[:min(len(output), most)]), -1) {
		if versionRE.MatchString(word) && strings.Contains(word, ".") {
			return strings.TrimPrefix(word, "v")
		}
	}
	return ""
}

// needs are the programs that stand for what an agent may require, with the name people know it by.
var needs = map[string]struct{ program, name, hint string }{
	"node": {"npm", "Node.js with npm", "In a Debian guest: sudo apt-get install nodejs npm. In a macOS guest: brew install node."},
	"python": {
		"pipx", "Python with pipx", "In a Debian guest: sudo apt-get install pipx. In a macOS guest: brew install pipx.",
	},
}

// Exit codes and marks of InstallScript.
const (
	ExitMissing = 97 // a requirement is missing; its name follows MissingMark
	MissingMark = "cal-missing:"
	WaitingMark = "cal-waiting"
)

// lockScript takes a lock of the guest, which ends with the process however that ends, and becomes the rest of its
// arguments. perl is in every guest; flock(1) is not in macOS.
const lockScript = `use Fcntl ":flock"; $^F = 255; $| = 1;
open(my $l, ">>", shift) or die "opening the lock: $!\n";
unless (flock($l, LOCK_EX | LOCK_NB)) { print "` + WaitingMark + `\n"; flock($l, LOCK_EX) or die "locking: $!\n" }
exec @ARGV or die "starting the installer: $!\n"`

// InstallScript returns the command that installs the agent: one at a time in a guest, and not again if it is there,
// unless again is true. The error is InstallCommand's; nil without an error means that there is nothing to install.
func (a *Agent) InstallScript(guestOS string, again bool) ([]string, error) {
	argv, err := a.InstallCommand(guestOS)
	if err != nil || len(argv) == 0 {
		return nil, err
	}
	var b strings.Builder
	b.WriteString(path)
	if !again {
		b.WriteString("if " + probes(a.Probe) + "; then exit 0; fi\n")
	}
	for _, r := range a.Requires {
		p := r
		if n, ok := needs[r]; ok {
			p = n.program
		}
		b.WriteString("command -v " + guest.Quote([]string{p}) + " >/dev/null 2>&1 || { echo " +
			guest.Quote([]string{MissingMark + r}) + "; exit 97; }\n")
	}
	b.WriteString("exec " + guest.Quote(argv) + "\n")
	return []string{
		"sh", "-c", `mkdir -p "$HOME/.cal" && cd && exec "$@"`, "cal",
		"perl", "-e", lockScript, ".cal/agents.lock", "sh", "-c", b.String(),
	}, nil
}

// Missing says in words what a requirement is, and how it is met.
func Missing(requirement string) (name, hint string) {
	if n, ok := needs[requirement]; ok {
		return n.name, n.hint
	}
	return requirement, "Install " + requirement + " in the guest."
}
