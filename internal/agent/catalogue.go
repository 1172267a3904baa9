package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/resources/agents"
)

// ErrUnknown is for an agent that is not in the catalogue.
var ErrUnknown = errors.New("no such agent")

// List is the catalogue: the built-in agents in their order, then the user's own by id.
type List []Agent

// Get finds an agent by id. The error wraps ErrUnknown.
func (l List) Get(id string) (*Agent, error) {
	ids := make([]string, len(l))
	for i := range l {
		if l[i].ID == id {
			return &l[i], nil
		}
		ids[i] = l[i].ID
	}
	advice := "choose one of " + strings.Join(ids, ", ") + ", or describe it under agents in config.yaml"
	if near := config.Nearest(id, ids); near != "" {
		advice = "did you mean " + near + "? Or " + advice
	}
	return nil, hint.Wrap(fmt.Errorf("finding agent %q: %w", id, ErrUnknown), advice)
}

// Emulated is the catalogue for guests whose processor is emulated: every start of an agent's program, by whichever of its
// commands, sets the variables it has for that.
func (l List) Emulated() List {
	l = slices.Clone(l)
	for i := range l {
		a := &l[i]
		if len(a.Emulated) == 0 {
			continue
		}
		for _, argv := range []*[]string{&a.Launch, &a.Version, &a.Auth.Check, &a.Auth.Login, &a.Auth.Logout} {
			if len(*argv) > 0 {
				*argv = slices.Concat([]string{"env"}, a.Emulated, *argv)
			}
		}
	}
	return l
}

// Catalogue is the built-in catalogue changed and completed by agents.<id> of config.yaml.
func Catalogue(c *config.Config) (List, error) {
	list, err := Parse(agents.YAML)
	if err != nil {
		return nil, fmt.Errorf("reading the built-in agents: %w", err)
	}
	ids := make([]string, 0, len(c.Agents))
	for id := range c.Agents {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	for _, id := range ids {
		i := slices.IndexFunc(list, func(a Agent) bool { return a.ID == id })
		if i < 0 {
			list = append(list, Agent{ID: id, Name: id, Custom: true})
			i = len(list) - 1
		}
		apply(&list[i], c.Agents[id])
		if err := check(list[i]); err != nil {
			return nil, hint.Wrap(fmt.Errorf("reading agents.%s of config.yaml: %w", id, err),
				"docs/config.md tells what an agent of your own needs")
		}
	}
	return list, nil
}

// apply puts the user's words over what is built in.
func apply(a *Agent, s config.AgentSettings) {
	set(&a.Name, s.Name)
	set(&a.ConfigDir, s.ConfigDir)
	set(&a.Homepage, s.Homepage)
	if !s.InstallCommand.IsZero() {
		a.Install = map[string][]string{"": s.InstallCommand.Args()}
	}
	if !s.LaunchCommand.IsZero() {
		a.Launch = s.LaunchCommand.Args()
		a.Emulated = nil // that was of another program
		if s.HeadlessArgs == nil {
			a.Headless = nil // and so were those
		}
		if s.Probe.IsZero() && a.Custom {
			a.Probe = [][]string{{"sh", "-c", `command -v "$1"`, "sh", a.Launch[0]}}
		}
	}
	if !s.Probe.IsZero() {
		a.Probe = [][]string{s.Probe.Args()}
	}
	if !s.AuthCheck.IsZero() {
		a.Auth.Check, a.Auth.Yes, a.Auth.No, a.Auth.ExitCode = s.AuthCheck.Args(), nil, nil, true
	}
	if !s.AuthCommand.IsZero() {
		a.Auth.Login = s.AuthCommand.Args()
	}
	if s.PromptArgs != nil {
		a.Prompt = slices.Clone(s.PromptArgs)
	}
	if s.AutonomousArgs != nil {
		a.Autonomous = slices.Clone(s.AutonomousArgs)
	}
	if s.HeadlessArgs != nil {
		a.Headless = slices.Clone(s.HeadlessArgs)
	}
	if s.AuthHosts != nil {
		a.Auth.Hosts = slices.Clone(s.AuthHosts)
	}
	if !s.LogoutCommand.IsZero() {
		a.Auth.Logout = s.LogoutCommand.Args()
	}
	if s.Requires != nil {
		a.Requires = slices.Clone(s.Requires)
	}
	if s.DefaultMode != "" && a.Permission != nil {
		p := *a.Permission
		p.Value = s.DefaultMode
		a.Permission = &p
	}
}

func set(to *string, from string) {
	if from != "" {
		*to = from
	}
}

// file is the shape of agents.yaml.
type file struct {
	Agents []entry `yaml:"agents"`
}

type entry struct {
	ID         string              `yaml:"id"`
	Name       string              `yaml:"name"`
	Homepage   string              `yaml:"homepage"`
	Requires   []string            `yaml:"requires"`
	Install    map[string][]string `yaml:"install"`
	Probe      [][]string          `yaml:"probe"`
	ConfigDir  string              `yaml:"config_dir"`
	Launch     []string            `yaml:"launch"`
	Prompt     []string            `yaml:"prompt"`
	Autonomous []string            `yaml:"autonomous"`
	Headless   []string            `yaml:"headless"`
	Package    string              `yaml:"package"`
	Services   []string            `yaml:"services"`
	Version    []string            `yaml:"version"`
	Auth       struct {
		Check    []string `yaml:"check"`
		Yes      []string `yaml:"yes"`
		No       []string `yaml:"no"`
		ExitCode bool     `yaml:"exit_code"`
		Login    []string `yaml:"login"`
		Logout   []string `yaml:"logout"`
		Hosts    []string `yaml:"hosts"`
		Advice   string   `yaml:"advice"`
	} `yaml:"auth"`
	Permission *struct {
		Path    string `yaml:"path"`
		Content string `yaml:"content"`
		Mode    string `yaml:"mode_key"`
		Value   string `yaml:"mode"`
		Allow   string `yaml:"allow_key"`
		Deny    string `yaml:"deny_key"`
	} `yaml:"permission"`
	Notes    string   `yaml:"notes"`
	Emulated []string `yaml:"emulated"`
}

const maxCatalogue = 256 << 10

// Parse reads a catalogue. An unknown key, an agent listed twice or one that cannot be started is an error.
func Parse(data []byte) (List, error) {
	if len(data) > maxCatalogue {
		return nil, fmt.Errorf("catalogue is larger than %d kB", maxCatalogue>>10)
	}
	if bytes.ContainsRune(data, '&') && anchorRE.Match(data) {
		return nil, errors.New("catalogue holds an anchor; write the values out")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var f file
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("parsing the catalogue: %w", err)
	}
	list := make(List, 0, len(f.Agents))
	seen := map[string]bool{}
	for _, e := range f.Agents {
		a := e.agent()
		if seen[a.ID] {
			return nil, fmt.Errorf("agent %q is listed twice", a.ID)
		}
		seen[a.ID] = true
		if err := check(a); err != nil {
			return nil, fmt.Errorf("agent %q: %w", a.ID, err)
		}
		list = append(list, a)
	}
	return list, nil
}

func (e entry) agent() Agent {
	a := Agent{
		ID: e.ID, Name: e.Name, Install: e.Install, Requires: e.Requires, Probe: e.Probe, ConfigDir: e.ConfigDir,
		Launch: e.Launch, Prompt: e.Prompt, Autonomous: e.Autonomous, Homepage: e.Homepage, Notes: e.Notes,
		Headless: e.Headless, Package: e.Package, Version: e.Version, Services: e.Services, Emulated: e.Emulated,
		Auth: Auth{
			Check: e.Auth.Check, Yes: e.Auth.Yes, No: e.Auth.No, ExitCode: e.Auth.ExitCode,
			Login: e.Auth.Login, Logout: e.Auth.Logout, Hosts: e.Auth.Hosts, Advice: e.Auth.Advice,
		},
	}
	if p := e.Permission; p != nil {
		a.Permission = &Permission{
			Path: p.Path, Content: p.Content, Mode: p.Mode, Value: p.Value, Allow: p.Allow, Deny: p.Deny,
		}
	}
	return a
}

var (
	anchorRE   = lazyre.New(`(?m)(^|[\s\[{,:-])&[A-Za-z0-9]`)
	packageRE  = lazyre.New(`^(@[a-z0-9-]+/)?[a-z0-9][a-z0-9._-]*$`)
	variableRE = lazyre.New(`^[A-Za-z_][A-Za-z0-9_]*=`)
	idRE       = lazyre.New(`^[a-z0-9][a-z0-9-]{0,39}$`)
)

// check tells what keeps an agent from being used.
func check(a Agent) error {
	switch {
	case !idRE.MatchString(a.ID):
		return errors.New("id must be 1 to 40 of a-z, 0-9 and -, and begin with a letter or digit")
	case a.Name == "":
		return errors.New("name is missing")
	case len(a.Launch) == 0 || a.Launch[0] == "":
		return errors.New("launch_command is missing")
	case len(a.Prompt) > 0 && !strings.Contains(strings.Join(a.Prompt, "\x00"), promptMark):
		return errors.New("prompt_args must hold " + promptMark)
	case len(a.Headless) > 0 && !strings.Contains(strings.Join(a.Headless, "\x00"), promptMark):
		return errors.New("headless_args must hold " + promptMark)
	case a.Package != "" && !packageRE.MatchString(a.Package):
		return errors.New("package must be the name of an npm package")
	case a.Permission != nil && !strings.HasPrefix(a.Permission.Path, "~/"):
		return errors.New("permission path must begin with ~/")
	}
	for _, v := range a.Emulated {
		if !variableRE.MatchString(v) {
			return fmt.Errorf("emulated must be variables, NAME=VALUE, not %q", v)
		}
	}
	for system, argv := range a.Install {
		if system != "" && system != "linux" && system != "darwin" {
			return fmt.Errorf("install is for linux, darwin or both, not %q", system)
		}
		if len(argv) > 0 && argv[0] == "" {
			return errors.New("install command is empty")
		}
	}
	for _, argv := range a.Probe {
		if len(argv) == 0 || argv[0] == "" {
			return errors.New("probe command is empty")
		}
	}
	return nil
}
