// Package agent is the catalogue of AI coding programs that run in a guest: how each is installed, found, signed in and
// started, as data.
//
// What must hold: everything here is a pure function of the built-in catalogue and the user's agents.<id>; nothing is
// run here. Commands are argv. What a guest answers is judged, never trusted: an agent is signed in only if its own
// status command says so, and every other answer is "unknown".
package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// ErrNoInstall is for an agent that nobody has said how to install on this guest system.
var ErrNoInstall = errors.New("no install command is known")

// ErrNoPrompt is for an agent that cannot be handed a first prompt.
var ErrNoPrompt = errors.New("a first prompt cannot be handed over")

// Agent is one AI coding program. All paths are the guest's; ~ is its user's home.
type Agent struct {
	ID   string
	Name string // as people see it
	// Install is the install command by guest system ("linux", "darwin"); "" serves every other.
	Install map[string][]string
	// Requires names environments that must be there first, such as node.
	Requires []string
	// Probe succeeds if the agent is installed. It is tried in this order, one success is enough: some programs have
	// other names by way of installation.
	Probe     [][]string
	ConfigDir string
	// Launch starts the agent in a terminal.
	Launch []string
	// Prompt are arguments that hand over a first prompt in place of {prompt}; empty if the agent takes none.
	Prompt []string
	// Autonomous are arguments for work without questions.
	Autonomous []string
	// Headless are arguments for work without terminal and questions, the prompt in place of {prompt}.
	Headless []string
	// Package is its npm package: the version that is installed is read from there, without starting the program.
	Package string
	// Version prints its version, for what is no npm package.
	Version []string
	Auth    Auth
	// Permission is the file in which the agent is told what it may do; nil if it has none that is known.
	Permission *Permission
	Homepage   string
	Notes      string // what a person should know before the first start
	// Services are where its program talks to, as names or "*.names": without them it is of no use, so the guest's way out
	// lets them through while the agent is the workspace's own or installed in it.
	Services []string
	Custom   bool // only the user's config.yaml knows it
	// Emulated are variables, NAME=VALUE, its program is started with where the guest's processor is emulated.
	Emulated []string
}

// Auth says how to sign in and how to know whether one is.
type Auth struct {
	// Check is the agent's own status command; empty if it has none. Run it with standard input at its end and a time
	// limit: some programs wait for a person.
	Check []string
	// Yes and No are texts in the output that decide before the exit code does.
	Yes, No []string
	// ExitCode tells that exit code 0 means signed in and another one signed out.
	ExitCode bool
	// Login signs in, in a terminal, Logout out.
	Login, Logout []string
	// Hosts are the sites of its sign-in pages, as names or "*.names".
	Hosts []string
	// Advice tells a person who signs in what to expect.
	Advice string
}

// Permission is a file of an agent's settings with what CALMenu proposes for it.
type Permission struct {
	Path    string // in the guest
	Content string // whole file, in the agent's own format
	Mode    string // the dotted key default_mode goes to, "" if none
	Value   string // default mode
	Allow   string // the dotted key of a list of what is allowed, "" if none
	Deny    string // and of what is denied
}

// Status is what is known about an agent's sign-in.
type Status int

// Unknown is not yes: callers treat it as signed out, and say that they do not know.
const (
	Unknown Status = iota
	SignedIn
	SignedOut
)

// MarshalText is the status in words, for JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote; anything else is Unknown.
func (s *Status) UnmarshalText(text []byte) error {
	*s = Unknown
	for _, known := range []Status{SignedIn, SignedOut} {
		if known.String() == string(text) {
			*s = known
		}
	}
	return nil
}

// String is the status in words.
func (s Status) String() string {
	switch s {
	case SignedIn:
		return "signed in"
	case SignedOut:
		return "signed out"
	}
	return "unknown"
}

// Judge decides from the result of Check. failed means that the command did not run to its end (not found, time limit,
// lost connection); exit is its exit code, output what it printed, which the guest may make up.
func (a Auth) Judge(exit int, output []byte, failed bool) Status {
	if failed || len(a.Check) == 0 || exit == 126 || exit == 127 { // 126, 127: the shell could not start it
		return Unknown
	}
	said := string(output)
	for _, no := range a.No {
		if strings.Contains(said, no) {
			return SignedOut
		}
	}
	for _, yes := range a.Yes {
		if exit == 0 && strings.Contains(said, yes) {
			return SignedIn
		}
	}
	switch {
	case !a.ExitCode || exit < 0:
		return Unknown
	case exit == 0 && len(a.Yes) == 0:
		return SignedIn
	case exit != 0:
		return SignedOut
	}
	return Unknown
}

// InstallCommand returns the argv that installs the agent on a guest of this system ("linux" or "darwin"). nil without
// an error means that there is nothing to install. The error wraps ErrNoInstall.
func (a *Agent) InstallCommand(guestOS string) ([]string, error) {
	for _, system := range []string{guestOS, ""} {
		if argv, ok := a.Install[system]; ok {
			return slices.Clone(argv), nil
		}
	}
	return nil, hint.Wrap(fmt.Errorf("installing %s on a %s guest: %w", a.Name, guestOS, ErrNoInstall),
		fmt.Sprintf("set agents.%s.install_command in config.yaml", a.ID))
}

// promptMark is what stands for the prompt in Agent.Prompt.
const promptMark = "{prompt}"

// HeadlessCommand returns the argv that has the agent work on a prompt without a terminal and without questions. An agent
// of the user's own that has no arguments for that gets those for a terminal. The error wraps ErrNoPrompt.
func (a *Agent) HeadlessCommand(prompt string) ([]string, error) {
	if prompt == "" {
		return nil, hint.Errorf("add --prompt TEXT", "starting %s without a terminal: it needs a prompt", a.Name)
	}
	switch {
	case len(a.Headless) > 0:
		return a.withPrompt(slices.Clone(a.Launch), a.Headless, prompt)
	case a.Custom:
		return a.LaunchCommand(prompt, true)
	}
	return nil, hint.Wrap(fmt.Errorf("starting %s without a terminal: %w", a.Name, ErrNoPrompt),
		fmt.Sprintf("set agents.%s.headless_args in config.yaml, or choose another agent", a.ID))
}

// LaunchCommand returns the argv that starts the agent, with a first prompt unless it is empty, and for work without
// questions if autonomous. The prompt stays one argument, and cannot be taken for an option. The error wraps
// ErrNoPrompt.
func (a *Agent) LaunchCommand(prompt string, autonomous bool) ([]string, error) {
	argv := slices.Clone(a.Launch)
	if autonomous {
		argv = append(argv, a.Autonomous...)
	}
	if prompt == "" {
		return argv, nil
	}
	if len(a.Prompt) == 0 {
		return nil, hint.Wrap(fmt.Errorf("starting %s: %w", a.Name, ErrNoPrompt),
			fmt.Sprintf("start it without a prompt, or set agents.%s.prompt_args in config.yaml", a.ID))
	}
	return a.withPrompt(argv, a.Prompt, prompt)
}

// withPrompt appends arguments with the prompt in its place.
func (a *Agent) withPrompt(argv, args []string, prompt string) ([]string, error) {
	if strings.ContainsRune(prompt, 0) {
		return nil, hint.Errorf("remove the NUL character", "starting %s: the prompt is not text", a.Name)
	}
	for _, arg := range args {
		if arg == promptMark && strings.HasPrefix(prompt, "-") {
			argv = append(argv, " "+prompt) // a leading blank keeps every parser from seeing an option
			continue
		}
		argv = append(argv, strings.ReplaceAll(arg, promptMark, prompt))
	}
	return argv, nil
}
