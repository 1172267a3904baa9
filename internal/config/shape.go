package config

import "strings"

// shape is what one kind of file may hold: its keys by pattern. In a pattern * stands for an identifier of the user's
// choice and [] for the elements of a list.
type shape struct {
	keys map[string]shapeKey
}

// shapeKey is one key a file may hold.
type shapeKey struct {
	kind  kind
	field *field // the setting it gives a value to, if it is one
}

// entry is a key of agents.<id> or agent_config.<id>.
type entry[T any] struct {
	key  string
	kind kind
	doc  string
	put  func(*T, any)
}

var agentSchema = []entry[AgentSettings]{
	{
		"name", text("a name", func(s string) bool { return s != "" }), "name people see",
		func(a *AgentSettings, v any) { a.Name = v.(string) },
	},
	{
		"install_command", command(), "installs the agent in the guest",
		func(a *AgentSettings, v any) { a.InstallCommand = v.(Command) },
	},
	{
		"probe", command(), "succeeds if the agent is installed",
		func(a *AgentSettings, v any) { a.Probe = v.(Command) },
	},
	{
		"config_dir", text("a path in the guest that begins with ~/ or /", isHostPath),
		"where the agent keeps its settings",
		func(a *AgentSettings, v any) { a.ConfigDir = v.(string) },
	},
	{
		"default_mode", text("a mode the agent knows", anyText), "permission mode written to the agent's settings",
		func(a *AgentSettings, v any) { a.DefaultMode = v.(string) },
	},
	{
		"launch_command", command(), "starts the agent",
		func(a *AgentSettings, v any) { a.LaunchCommand = v.(Command) },
	},
	{
		"prompt_args", listOf("arguments, one with {prompt}", anyText), "arguments that hand over a first prompt",
		func(a *AgentSettings, v any) { a.PromptArgs = v.([]string) },
	},
	{
		"autonomous_args", listOf("arguments", anyText), "arguments for work without questions",
		func(a *AgentSettings, v any) { a.AutonomousArgs = v.([]string) },
	},
	{
		"headless_args", listOf("arguments, one with {prompt}", anyText),
		"arguments for work without a terminal, by `session --autonomous`; default: autonomous_args and prompt_args",
		func(a *AgentSettings, v any) { a.HeadlessArgs = v.([]string) },
	},
	{
		"auth_check", command(), "succeeds if the agent is signed in",
		func(a *AgentSettings, v any) { a.AuthCheck = v.(Command) },
	},
	{
		"auth_command", command(), "signs the agent in",
		func(a *AgentSettings, v any) { a.AuthCommand = v.(Command) },
	},
	{
		"auth_hosts", listOf("host names, or *.names", signInHost),
		"sites of its sign-in pages: a link there is opened on the host by itself, any other is shown and copied",
		func(a *AgentSettings, v any) { a.AuthHosts = v.([]string) },
	},
	{
		"logout_command", command(), "signs the agent out",
		func(a *AgentSettings, v any) { a.LogoutCommand = v.(Command) },
	},
	{
		"requires", listOf("environments such as node", nameRE.MatchString), "environments the agent needs",
		func(a *AgentSettings, v any) { a.Requires = v.([]string) },
	},
	{
		"homepage", text("a URL", isMirror), "where the agent is described",
		func(a *AgentSettings, v any) { a.Homepage = v.(string) },
	},
}

var permissionSchema = []entry[AgentPermissions]{
	{
		"mode", text("a mode the agent knows", anyText), "permission mode",
		func(p *AgentPermissions, v any) { p.Mode = v.(string) },
	},
	{
		"allowed_tools", listOf("tools", anyText), "tools allowed without a question",
		func(p *AgentPermissions, v any) { p.AllowedTools = v.([]string) },
	},
	{
		"denied_tools", listOf("tools", anyText), "tools denied",
		func(p *AgentPermissions, v any) { p.DeniedTools = v.([]string) },
	},
	{
		"auto_approve", listOf("actions", anyText), "actions approved without a question",
		func(p *AgentPermissions, v any) { p.AutoApprove = v.([]string) },
	},
	{
		"deny", listOf("actions", anyText), "actions denied",
		func(p *AgentPermissions, v any) { p.Deny = v.([]string) },
	},
}

var configShape = func() *shape {
	s := &shape{keys: map[string]shapeKey{}}
	for i := range schema {
		s.keys[schema[i].key] = shapeKey{schema[i].kind, &schema[i]}
	}
	for _, e := range agentSchema {
		s.keys["agents.*."+e.key] = shapeKey{kind: e.kind}
	}
	for _, e := range hookSchema {
		s.keys[hookKey+"."+e.key] = shapeKey{kind: e.kind}
	}
	return s
}()

// vmFacts are the keys of vm.yaml that are no settings.
var vmFacts = map[string]kind{
	"name":                     text(nameExpected, nameRE.MatchString),
	"created_at":               timestamp(),
	"github.authenticated":     yesNo(),
	"github.repos[].name":      matching("a repository's name", `^[A-Za-z0-9._-]{1,100}$`),
	"github.repos[].url":       text("a URL", anyText),
	"github.repos[].branch":    text("a branch", func(s string) bool { return s != "" && !strings.HasPrefix(s, "-") }),
	"github.repos[].cloned_at": timestamp(),
	"snapshots[].name":         text("a name", func(s string) bool { return s != "" }),
	"snapshots[].created_at":   timestamp(),
}

var vmShape = func() *shape {
	s := &shape{keys: map[string]shapeKey{}}
	for key, k := range vmFacts {
		s.keys[key] = shapeKey{kind: k}
	}
	for i := range schema {
		for _, key := range schema[i].vm {
			s.keys[key] = shapeKey{schema[i].kind, &schema[i]}
		}
	}
	for _, e := range permissionSchema {
		s.keys["agent_config.*."+e.key] = shapeKey{kind: e.kind}
	}
	return s
}()

// section tells whether keys lie below the pattern as a mapping.
func (s *shape) section(pattern string) bool {
	if pattern == "" {
		return true
	}
	for key := range s.keys {
		if strings.HasPrefix(key, pattern+".") {
			return true
		}
	}
	return false
}

// elements tells whether the pattern is a list of mappings.
func (s *shape) elements(pattern string) bool { return s.section(pattern + "[]") }

// children lists the names directly below a section; "*" among them means any identifier.
func (s *shape) children(pattern string) []string {
	prefix := pattern + "."
	if pattern == "" {
		prefix = ""
	}
	seen := map[string]bool{}
	var names []string
	for key := range s.keys {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		name = strings.TrimSuffix(name, "[]")
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}
