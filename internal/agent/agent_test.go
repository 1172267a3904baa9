package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/resources/agents"
)

func catalogue(t testing.TB, configYAML string) (agent.List, error) {
	t.Helper()
	h := config.Home{Dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(h.Dir, "config.yaml"), []byte(configYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(h, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return agent.Catalogue(c)
}

func get(t testing.TB, configYAML, id string) *agent.Agent {
	t.Helper()
	list, err := catalogue(t, configYAML)
	if err != nil {
		t.Fatal(err)
	}
	a, err := list.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBuiltIn(t *testing.T) {
	list, err := catalogue(t, "")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, a := range list {
		ids = append(ids, a.ID)
		for _, system := range []string{"linux", "darwin"} {
			if argv, err := a.InstallCommand(system); err != nil || len(argv) == 0 && a.ID != "shell" {
				t.Errorf("%s on %s: %q, %v", a.ID, system, argv, err)
			}
		}
		if len(a.Probe) == 0 || a.Homepage == "" && a.ID != "shell" {
			t.Errorf("%s has no probe or homepage", a.ID)
		}
	}
	want := []string{
		"claude-code", "codex", "opencode", "cursor-cli", "ccs",
		"gemini-cli", "copilot-cli", "aider", "shell",
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Error(diff)
	}
	if _, err := list.Get(config.Default(config.Home{Dir: "/x"}).Agent); err != nil {
		t.Errorf("the default agent: %v", err)
	}
}

func TestGetUnknown(t *testing.T) {
	list, err := catalogue(t, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = list.Get("claude-kode")
	if !errors.Is(err, agent.ErrUnknown) || !strings.HasPrefix(hint.Of(err), "did you mean claude-code?") {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
}

func TestLaunchCommand(t *testing.T) {
	tests := []struct {
		id, prompt string
		autonomous bool
		want       []string
	}{
		{"claude-code", "", false, []string{"claude"}},
		{
			"claude-code", "fix 'it'; rm -rf $HOME", true,
			[]string{"claude", "--dangerously-skip-permissions", "fix 'it'; rm -rf $HOME"},
		},
		{"codex", "--help", false, []string{"codex", " --help"}},
		{"codex", "", true, []string{"codex", "--dangerously-bypass-approvals-and-sandbox"}},
		{"opencode", "-x", true, []string{"opencode", "--auto", "--prompt=-x"}},
		{"copilot-cli", "{prompt}", true, []string{"copilot", "--allow-all", "--interactive={prompt}"}},
		{"gemini-cli", "a", false, []string{"gemini", "--prompt-interactive=a"}},
		{"shell", "", true, []string{"sh", "-c", `exec "${SHELL:-/bin/bash}" -l`}},
	}
	for _, tt := range tests {
		got, err := get(t, "", tt.id).LaunchCommand(tt.prompt, tt.autonomous)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", tt.id, err, diff)
		}
	}
	_, err := get(t, "", "shell").LaunchCommand("hello", false)
	if !errors.Is(err, agent.ErrNoPrompt) || hint.Of(err) == "" {
		t.Errorf("a prompt for the shell: %v", err)
	}
	if _, err := get(t, "", "codex").LaunchCommand("a\x00b", false); err == nil {
		t.Error("a prompt with NUL")
	}
}

// TestPromptStaysOneArgument: no prompt adds an argument, becomes an option, or loses a character.
func TestPromptStaysOneArgument(t *testing.T) {
	list, err := catalogue(t, "")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		a := list[rapid.IntRange(0, len(list)-1).Draw(r, "agent")]
		prompt := rapid.StringMatching(`[ -~\n]{1,20}`).Draw(r, "prompt")
		plain, err := a.LaunchCommand("", true)
		if err != nil {
			r.Fatal(err)
		}
		got, err := a.LaunchCommand(prompt, true)
		if len(a.Prompt) == 0 {
			if !errors.Is(err, agent.ErrNoPrompt) {
				r.Fatal(err)
			}
			return
		}
		if err != nil || len(got) != len(plain)+len(a.Prompt) || !slices.Equal(got[:len(plain)], plain) {
			r.Fatalf("%q: %q %v", prompt, got, err)
		}
		last := got[len(got)-1]
		if !strings.HasSuffix(last, prompt) || a.Prompt[0] == "{prompt}" && strings.HasPrefix(last, "-") {
			r.Fatalf("%q became %q", prompt, last)
		}
	})
}

// TestUsersOwnAgent describes one in config.yaml alone.
func TestUsersOwnAgent(t *testing.T) {
	a := get(t, `agents:
  my-agent:
    name: My Agent
    install_command: curl -fsSL https://example.org/install | sh
    launch_command: [my-agent, --tui]
    prompt_args: ["--task={prompt}"]
    autonomous_args: [--yes]
    auth_check: my-agent whoami
    auth_command: my-agent login
    requires: [node]
    config_dir: ~/.my-agent
`, "my-agent")
	want := &agent.Agent{
		ID: "my-agent", Name: "My Agent", Custom: true, ConfigDir: "~/.my-agent", Requires: []string{"node"},
		Install: map[string][]string{"": {"sh", "-c", "curl -fsSL https://example.org/install | sh"}},
		Probe:   [][]string{{"sh", "-c", `command -v "$1"`, "sh", "my-agent"}},
		Launch:  []string{"my-agent", "--tui"}, Prompt: []string{"--task={prompt}"}, Autonomous: []string{"--yes"},
		Auth: agent.Auth{Check: []string{"my-agent", "whoami"}, ExitCode: true, Login: []string{"my-agent", "login"}},
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	bare := get(t, "agents: {bare: {launch_command: bare}}\n", "bare")
	if _, err := bare.InstallCommand("linux"); !errors.Is(err, agent.ErrNoInstall) || hint.Of(err) == "" {
		t.Errorf("install: %v", err)
	}
}

func TestUserChangesABuiltInAgent(t *testing.T) {
	a := get(t, `agents: {claude-code: {install_command: "npm install -g @anthropic-ai/claude-code", default_mode: plan}}`,
		"claude-code")
	argv, err := a.InstallCommand("linux")
	if err != nil || !slices.Equal(argv, []string{"npm", "install", "-g", "@anthropic-ai/claude-code"}) {
		t.Error(argv, err)
	}
	if a.Custom || a.Permission.Value != "plan" || a.Name != "Claude Code" {
		t.Errorf("%+v", a)
	}
}

func TestUsersMistakes(t *testing.T) {
	for yaml, want := range map[string]string{
		"agents: {mine: {name: Mine}}":             "launch_command is missing",
		"agents: {codex: {prompt_args: [--task]}}": "prompt_args must hold {prompt}",
	} {
		if _, err := catalogue(t, yaml); err == nil || !strings.Contains(err.Error(), want) || hint.Of(err) == "" {
			t.Errorf("%s: %v", yaml, err)
		}
	}
}

// TestJudge: signed in is only what the agent's own words or exit code say; everything else is unknown or signed out.
func TestJudge(t *testing.T) {
	tests := []struct {
		id     string
		exit   int
		output string
		failed bool
		want   agent.Status
	}{
		{"claude-code", 0, `{"loggedIn": true, "authMethod": "x"}`, false, agent.SignedIn},
		{"claude-code", 1, `{"loggedIn": false}`, false, agent.SignedOut},
		{"claude-code", 0, `{"loggedIn": false}`, false, agent.SignedOut},
		{"claude-code", 0, "something else", false, agent.Unknown},
		{"claude-code", 127, "sh: claude: not found", false, agent.Unknown},
		{"claude-code", 0, `{"loggedIn": true}`, true, agent.Unknown},
		{"codex", 0, "Logged in using ChatGPT", false, agent.SignedIn},
		{"codex", 1, "Not logged in", false, agent.SignedOut},
		{"codex", -1, "", false, agent.Unknown},
		{"opencode", 0, "└  0 credentials", false, agent.SignedOut},
		{"opencode", 0, "└  1 credentials", false, agent.Unknown},
		{"cursor-cli", 0, "Not logged in", false, agent.SignedOut},
		{"cursor-cli", 1, "", false, agent.Unknown},
		{"gemini-cli", 0, "", false, agent.Unknown},
	}
	for _, tt := range tests {
		if got := get(t, "", tt.id).Auth.Judge(tt.exit, []byte(tt.output), tt.failed); got != tt.want {
			t.Errorf("%s, exit %d, %q, failed %v: %s, want %s", tt.id, tt.exit, tt.output, tt.failed, got, tt.want)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	const good = "agents: [{id: a, name: A, launch: [a]}]"
	if _, err := agent.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for yaml, want := range map[string]string{
		"agents: [{id: a, name: A, lunch: [a]}]":                                   "field lunch not found",
		"agents: [{id: a, name: A}]":                                               "launch_command is missing",
		"agents: [{id: A, name: A, launch: [a]}]":                                  "id must be",
		"agents: [{id: a, name: A, launch: [a]}, {id: a, name: B, launch: [b]}]":   "listed twice",
		"agents: [{id: a, name: A, launch: [a], install: {windows: [x]}}]":         "linux, darwin or both",
		"agents: [{id: a, name: A, launch: [a], permission: {path: /etc/passwd}}]": "begin with ~/",
		"agents: [{id: a, name: A, launch: [a], prompt: [x]}]":                     "{prompt}",
		"agents: [{id: a, name: A, launch: [a], probe: [[]]}]":                     "probe command",
		"agents: &x [{id: a, name: A, launch: [a]}]":                               "anchor",
		"agents: [":                  "parsing",
		strings.Repeat("#", 300<<10): "larger",
	} {
		if _, err := agent.Parse([]byte(yaml)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", yaml, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(agents.YAML)
	f.Add([]byte("agents: [{id: a, name: A, launch: [a]}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := agent.Parse(data)
		if err != nil {
			return
		}
		for _, a := range list {
			if argv, err := a.LaunchCommand("", true); err != nil || len(argv) == 0 {
				t.Errorf("%q cannot be started: %v", a.ID, err)
			}
		}
	})
}
