package provision_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest/provision"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

func load(t *testing.T) provision.List {
	t.Helper()
	l, err := provision.Load()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Every script is one for both shells it meets, dash and an old bash, as far as this host can tell.
func TestScriptsAreReadByEveryShell(t *testing.T) {
	t.Parallel()
	for _, s := range load(t) {
		for kind, script := range map[string]string{"check": s.Check, "do": s.Do} {
			for _, shell := range [][]string{
				{"sh", "-n"},
				{"bash", "--posix", "-n"},
				// Variables come from the runner; A || B && C is not if-then-else and not meant to be.
				{"shellcheck", "--shell=sh", "--exclude=SC2154,SC2015", "-"},
			} {
				if _, err := exec.LookPath(shell[0]); err != nil {
					continue
				}
				cmd := exec.CommandContext(t.Context(), shell[0], shell[1:]...)
				cmd.Stdin = strings.NewReader(script)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s of %q by %s: %v\n%s", kind, s.ID, shell[0], err, out)
				}
			}
		}
	}
}

// Root is asked for without a prompt, and by commands the sandbox of the tests stands in for, or that are given paths
// below its root alone.
func TestWhatIsDoneAsRootIsHarmlessInTheSandbox(t *testing.T) {
	t.Parallel()
	sudo := regexp.MustCompile(`\bsudo\b(.*)`)
	harmless := []string{"mkdir", "ln", "chmod", "base64", "rm", "cp", "mv"}
	for _, s := range load(t) {
		for _, m := range sudo.FindAllStringSubmatch(s.Check+"\n"+s.Do, -1) {
			words := strings.Fields(m[1])
			if len(words) < 2 || words[0] != "-n" {
				t.Errorf("step %q calls sudo%s", s.ID, m[1])
				continue
			}
			program := strings.Trim(words[1], ";'\"")
			if !slices.Contains(vmtest.StandIns(), program) && !slices.Contains(harmless, program) {
				t.Errorf("step %q runs %s as root, which the sandbox has no stand-in for", s.ID, program)
			}
			if slices.Contains(harmless, program) && strings.Contains(m[1], " /etc") {
				t.Errorf("step %q: %s touches a file of the host in the sandbox", s.ID, m[1])
			}
		}
	}
}

func ids(l provision.List) string {
	var all []string
	for _, s := range l {
		all = append(all, s.ID)
	}
	return strings.Join(all, " ")
}

func TestEveryGuestGetsTheStepsThatApplyToIt(t *testing.T) {
	t.Parallel()
	mac := provision.Guest{OS: "darwin", Facts: []string{provision.StockPassword}}
	shared := provision.Guest{OS: "darwin", Facts: []string{provision.StockPassword, provision.Share}}
	cursor := mac
	cursor.Agent = "cursor-cli"
	both := []string{provision.First, provision.Boot}
	for _, tt := range []struct {
		name   string
		guest  provision.Guest
		stages []string
		want   string
	}{
		{
			"Debian",
			provision.Guest{OS: "linux"},
			both,
			"key keys-only password-locked folders environment timezone git-proxy proxy-commands",
		},
		{
			"Debian whose programs need no proxy",
			provision.Guest{OS: "linux", Facts: []string{provision.Transparent}},
			[]string{provision.Boot},
			"password-locked folders environment timezone git-direct proxy-commands",
		},
		{
			"macOS", mac, both, "remote-login key keys-only password folders environment shell timezone awake " +
				"screensaver spotlight updates proxy-commands",
		},
		{"macOS with a share", shared, []string{provision.Boot}, "password folders share environment shell timezone " +
			"awake screensaver spotlight updates proxy-commands"},
		{"before SSH", mac, []string{provision.First}, "remote-login key keys-only"},
		{"any agent", mac, []string{provision.Session}, "tmux gh"},
		{"an agent that keeps its login in the keychain", cursor, []string{provision.Session}, "tmux gh keychain"},
	} {
		if got := ids(load(t).For(tt.guest, tt.stages...)); got != tt.want {
			t.Errorf("%s gets\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

func TestMistakesInStepsAreAllNamed(t *testing.T) {
	t.Parallel()
	const sound = "steps:\n  - {id: a, title: t, stage: boot, check: 'true', do: 'true', evidence: e}\n"
	if _, err := provision.Parse([]byte(sound)); err != nil {
		t.Fatal(err)
	}
	for change, want := range map[string]string{
		"id: a>id: A b":                                    "its id must be",
		"title: t>title: ''":                               "needs a title",
		"check: 'true'>check: ' '":                         "needs a check",
		"stage: boot>stage: later":                         `there is no stage "later"`,
		"do: 'true'>do: sudo -n x":                         "privileged is false",
		"evidence: e>evidence: e, privileged: true":        "privileged is true",
		"evidence: e>evidence: e, os: [plan9]":             `no guest "plan9"`,
		"evidence: e>evidence: e, when: [rain]":            `no fact "rain"`,
		"evidence: e>evidence: e, needs: [a]":              `needs "a", which is not before it`,
		"evidence: e>evidence: e, input: pin":              `no input "pin"`,
		"evidence: e>evidence: e, timeout: 2h":             "timeout must be at most",
		"evidence: e>evidence: e, agents: [x]":             "for a session only",
		"evidence: e>evidence: e, colour: red":             "field colour not found",
		"evidence: e}>evidence: e}\n  - {id: a, title: t}": "there are two of it",
		"steps:>steps: [":                                  "reading the steps",
	} {
		from, to, _ := strings.Cut(change, ">")
		_, err := provision.Parse([]byte(strings.Replace(sound, from, to, 1)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
}
