// Package provision sets a guest up by steps that are data (resources/guest/provision/steps.yaml): each has a check
// that tells whether it holds, and a script that makes it so.
//
// What must hold: what was done is never remembered, only checked again, so that a run that was killed is gone on with
// by the next; all checks together are one command in the guest; a secret reaches the guest by a script's standard
// input only; nothing the guest prints is believed beyond "this step holds" and one cleaned line.
package provision

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/calmenu/calmenu/resources"
)

// Stages at which steps are run.
const (
	First   = "first"   // over the driver's own channel, before SSH can be used
	Boot    = "boot"    // at every start, over SSH
	Session = "session" // before an agent's session
)

// Facts steps can depend on, by their when.
const (
	StockPassword = "stock-password" // the image has a password everybody knows
	Share         = "share"          // the outbox is a shared host folder
	CAFile        = "ca-file"        // certificate authorities of the user's own are, or were, to be trusted
	Transparent   = "transparent"    // programs need no proxy settings
)

// Input names what a step's script reads from its standard input.
type Input string

// Password is the guest account's own password on the first line, and on the second the same as the file with which
// macOS logs in by itself (KCPassword), in base64.
const Password Input = "password"

// CABundle is PEM text of certificates; it may be empty.
const CABundle Input = "ca-bundle"

// Step is one thing a guest is set up with.
type Step struct {
	ID, Title  string
	Stage      string
	OS         []string // empty: every guest
	When       []string // facts that must hold; with a "!" before it, must not
	Agents     []string // empty: every one
	Needs      []string // steps before this one
	Check, Do  string   // for /bin/sh
	Privileged bool     // the scripts call sudo
	Timeout    time.Duration
	Input      Input
	Optional   bool   // its failure is a warning
	Evidence   string // what holds when it holds
}

// List is steps in the order they are run in.
type List []Step

const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = time.Hour
)

// Load reads the steps that are part of the program.
func Load() (List, error) {
	data, err := resources.Guest("provision/steps.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the steps of the guest's setup: %w", err)
	}
	return Parse(data)
}

// ProxyCommands is the script that puts proxy-start and the like into a directory: the variable proxy_commands.
func ProxyCommands() (string, error) {
	text, err := resources.Guest("proxy-commands.sh")
	if err != nil {
		return "", fmt.Errorf("reading the network's commands: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Parse reads and checks steps. Every mistake in them is in the error.
func Parse(data []byte) (List, error) {
	var file struct{ Steps List }
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("reading the steps of the guest's setup: %w", err)
	}
	var mistakes []error
	for i := range file.Steps {
		s := &file.Steps[i]
		if s.Timeout == 0 {
			s.Timeout = defaultTimeout
		}
		for _, m := range s.mistakes(file.Steps[:i]) {
			mistakes = append(mistakes, fmt.Errorf("step %q: %s", s.ID, m))
		}
	}
	if len(mistakes) > 0 {
		return nil, fmt.Errorf("reading the steps of the guest's setup: %w", errors.Join(mistakes...))
	}
	return file.Steps, nil
}

var (
	idPattern   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	sudoPattern = regexp.MustCompile(`\bsudo\b`)
)

func (s *Step) mistakes(before List) (all []string) {
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	say(!idPattern.MatchString(s.ID), "its id must be lower-case letters, digits and hyphens")
	say(before.index(s.ID) >= 0, "there are two of it")
	say(s.Title == "" || s.Evidence == "", "it needs a title and evidence")
	say(strings.TrimSpace(s.Check) == "" || strings.TrimSpace(s.Do) == "", "it needs a check and a do")
	say(!slices.Contains([]string{First, Boot, Session}, s.Stage), "there is no stage %q", s.Stage)
	say(s.Input != "" && s.Input != Password && s.Input != CABundle, "there is no input %q", s.Input)
	say(s.Timeout < 0 || s.Timeout > maxTimeout, "its timeout must be at most %s", maxTimeout)
	sudo := sudoPattern.MatchString(s.Check + "\n" + s.Do)
	say(sudo != s.Privileged, "privileged is %v, but its scripts say otherwise", s.Privileged)
	say(len(s.Agents) > 0 && s.Stage != Session, "agents count for a session only")
	for _, o := range s.OS {
		say(o != "linux" && o != "darwin", "there is no guest %q", o)
	}
	for _, w := range s.When {
		fact := strings.TrimPrefix(w, "!")
		say(fact != StockPassword && fact != Share && fact != CAFile && fact != Transparent, "there is no fact %q", fact)
	}
	for _, n := range s.Needs {
		say(before.index(n) < 0, "it needs %q, which is not before it", n)
	}
	return all
}

func (l List) index(id string) int {
	return slices.IndexFunc(l, func(s Step) bool { return s.ID == id })
}

// Guest says what a guest is, to choose the steps that apply to it.
type Guest struct {
	OS    string   // "linux" or "darwin"
	Facts []string // that hold
	Agent string   // whose session begins
}

// For returns the steps of the given stages that apply to a guest.
func (l List) For(g Guest, stages ...string) List {
	var chosen List
	for _, s := range l {
		if slices.Contains(stages, s.Stage) && s.applies(g) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

func (s *Step) applies(g Guest) bool {
	if len(s.OS) > 0 && !slices.Contains(s.OS, g.OS) || len(s.Agents) > 0 && !slices.Contains(s.Agents, g.Agent) {
		return false
	}
	for _, w := range s.When {
		fact, not := strings.CutPrefix(w, "!")
		if slices.Contains(g.Facts, fact) == not {
			return false
		}
	}
	return true
}
