package agent_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/hint"
)

// inHome runs a command of the catalogue as a guest would, in a home of the test's own.
func inHome(t *testing.T, home string, argv []string, stdin string) (string, int) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin"}
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func write(t *testing.T, file, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestSurvey(t *testing.T) {
	list, err := catalogue(t, "agents: {mine: {launch_command: mine, probe: [test, -e, it's here]}}")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	ask := func() map[string]agent.Found {
		out, exit := inHome(t, home, agent.SurveyCommand(list), "")
		if exit != 0 {
			t.Fatalf("exit %d: %s", exit, out)
		}
		return agent.ParseSurvey(list, []byte(out))
	}
	if diff := cmp.Diff(map[string]agent.Found{"shell": {}}, ask()); diff != "" {
		t.Errorf("an empty guest: %s", diff)
	}
	bin := filepath.Join(home, ".local", "bin")
	for _, p := range []string{"claude", "codex", "agent"} {
		write(t, filepath.Join(bin, p), "#!/bin/sh\nexit 1\n", 0o755)
	}
	write(t, filepath.Join(home, "it's here"), "", 0o644)
	write(t, filepath.Join(home, ".local/lib/node_modules/@anthropic-ai/claude-code/package.json"),
		"{\n  \"name\": \"x\",\n  \"version\": \"2.1.330\",\n  \"bin\": {}\n}\n", 0o644)
	want := map[string]agent.Found{"claude-code": {Version: "2.1.330"}, "codex": {}, "cursor-cli": {}, "mine": {}, "shell": {}}
	if diff := cmp.Diff(want, ask()); diff != "" {
		t.Error(diff)
	}
}

func TestParseSurveyTrustsNothing(t *testing.T) {
	list, err := catalogue(t, "")
	if err != nil {
		t.Fatal(err)
	}
	got := agent.ParseSurvey(list, []byte("codex\t\x1b[31mred\nevil\t1.0\nccs\nopencode\tv1.2.3-beta+4\r\n\xff\t\n"))
	if diff := cmp.Diff(map[string]agent.Found{"codex": {}, "opencode": {Version: "v1.2.3-beta+4"}}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseSurvey(f *testing.F) {
	list, err := agent.Parse([]byte("agents: [{id: a, name: A, launch: [a]}]"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("a\t1.2.3\n"))
	f.Add([]byte("a\t\x1b]0;x\x07\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for id, found := range agent.ParseSurvey(list, b) {
			if id != "a" || len(found.Version) > 41 || strings.ContainsAny(found.Version, "\x1b\n\t ") {
				t.Errorf("%q: %q", id, found.Version)
			}
		}
		if v := agent.ParseVersion(b); len(v) > 41 || strings.ContainsAny(v, "\x1b\n\t ") {
			t.Errorf("version %q", v)
		}
	})
}

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]string{
		"2.1.330 (Claude Code)\n": "2.1.330", "codex-cli 0.169.0": "0.169.0", "aider v0.86.1": "0.86.1",
		"error 404": "", "": "", "2025.09.18-abc1234\n": "2025.09.18-abc1234",
	} {
		if got := agent.ParseVersion([]byte(in)); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestInstallScript(t *testing.T) {
	mine := func(install, requires string) *agent.Agent {
		return get(t, "agents: {mine: {launch_command: mine, requires: ["+requires+"], install_command: [sh, -c, '"+install+"']}}",
			"mine")
	}
	const installs = `mkdir -p "$HOME/.local/bin"; printf "#!/bin/sh\n" >"$HOME/.local/bin/mine"; ` +
		`chmod +x "$HOME/.local/bin/mine"; echo ran`
	home := t.TempDir()
	run := func(a *agent.Agent, again bool) (string, int) {
		argv, err := a.InstallScript("linux", again)
		if err != nil {
			t.Fatal(err)
		}
		return inHome(t, home, argv, "")
	}
	for _, step := range []struct {
		name  string
		a     *agent.Agent
		again bool
		out   string
		exit  int
	}{
		{"a requirement is missing", mine(installs, "frobnicator"), false, "cal-missing:frobnicator\n", agent.ExitMissing},
		{"it fails", mine("echo sorry; exit 3", ""), false, "sorry\n", 3},
		{"it works", mine(installs, ""), false, "ran\n", 0},
		{"it is there", mine("echo never; exit 9", "frobnicator"), false, "", 0},
		{"again", mine(installs, ""), true, "ran\n", 0},
	} {
		if out, exit := run(step.a, step.again); out != step.out || exit != step.exit {
			t.Errorf("%s: exit %d, %q", step.name, exit, out)
		}
	}
	if argv, err := get(t, "", "shell").InstallScript("linux", false); err != nil || argv != nil {
		t.Errorf("the shell: %q, %v", argv, err)
	}
}

// TestInstallOneAtATime: of two installers of one guest the second waits, says so, and finds nothing left to do.
func TestInstallOneAtATime(t *testing.T) {
	a := get(t, `agents: {mine: {launch_command: mine, install_command: [sh, -c, 'echo begun; read go <"$HOME/gate"; `+
		`mkdir -p "$HOME/.local/bin"; printf "#!/bin/sh\n" >"$HOME/.local/bin/mine"; chmod +x "$HOME/.local/bin/mine"']}}`, "mine")
	home := t.TempDir()
	gate := filepath.Join(home, "gate")
	if out, err := exec.Command("mkfifo", gate).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	argv, err := a.InstallScript("linux", false)
	if err != nil {
		t.Fatal(err)
	}
	begin := func() (*exec.Cmd, func() string) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin"}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, func() string {
			b := make([]byte, 200)
			n, _ := out.Read(b)
			return string(b[:n])
		}
	}
	first, firstSays := begin()
	if s := firstSays(); s != "begun\n" {
		t.Fatalf("the first says %q", s)
	}
	second, secondSays := begin()
	if s := secondSays(); s != agent.WaitingMark+"\n" {
		t.Fatalf("the second says %q", s)
	}
	write(t, gate, "go\n", 0o600)
	if err := first.Wait(); err != nil {
		t.Errorf("the first: %v", err)
	}
	if s := secondSays(); s != "" {
		t.Errorf("the second goes on with %q", s)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("the second: %v", err)
	}
}

func TestPermissionFile(t *testing.T) {
	p := get(t, "", "claude-code").Permission
	for _, tt := range []struct {
		choice agent.PermissionChoice
		want   []string
	}{
		{agent.PermissionChoice{}, []string{`"defaultMode": "acceptEdits"`, `"Bash(sudo:*)"`}},
		{agent.PermissionChoice{Mode: `pl"an`}, []string{`"defaultMode": "pl\"an"`}},
		{agent.PermissionChoice{Allow: []string{"Read(**)"}, Deny: []string{"Bash(rm:*)"}}, []string{
			"\"allow\": [\n      \"Read(**)\"\n    ]", "\"deny\": [\n      \"Bash(rm:*)\"\n    ]",
		}},
	} {
		got, err := p.Render(tt.choice)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range tt.want {
			if !strings.Contains(string(got), w) {
				t.Errorf("%+v: no %s in\n%s", tt.choice, w, got)
			}
		}
	}
	home := t.TempDir()
	file := filepath.Join(home, ".claude", "settings.json")
	if out, exit := inHome(t, home, p.WriteCommand(), "first"); exit != 0 || strings.TrimSpace(out) != agent.WrittenMark {
		t.Errorf("exit %d, %q", exit, out)
	}
	if out, exit := inHome(t, home, p.WriteCommand(), "second"); exit != 0 || out != "" {
		t.Errorf("again: exit %d, %q", exit, out)
	}
	b, err := os.ReadFile(file)
	if err != nil || string(b) != "first" {
		t.Errorf("%q, %v", b, err)
	}
	if es, _ := os.ReadDir(filepath.Dir(file)); len(es) != 1 {
		t.Errorf("left behind: %v", es)
	}
}

func TestEveryPermissionFileCanBeWritten(t *testing.T) {
	list, err := catalogue(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.Permission != nil {
			if _, err := a.Permission.Render(agent.PermissionChoice{}); err != nil {
				t.Errorf("%s: %v", a.ID, err)
			}
		}
	}
}

func TestHeadlessCommand(t *testing.T) {
	tests := []struct {
		config, id string
		want       []string
	}{
		{"", "claude-code", []string{"claude", "--dangerously-skip-permissions", "-p", "do $it"}},
		{"", "codex", []string{
			"codex", "exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "do $it",
		}},
		{"", "opencode", []string{"opencode", "run", "--auto", "do $it"}},
		{"agents: {codex: {headless_args: [work, '{prompt}!']}}", "codex", []string{"codex", "work", "do $it!"}},
		{
			"agents: {mine: {launch_command: mine, autonomous_args: [--yes], prompt_args: ['--task={prompt}']}}", "mine",
			[]string{"mine", "--yes", "--task=do $it"},
		},
	}
	for _, tt := range tests {
		got, err := get(t, tt.config, tt.id).HeadlessCommand("do $it")
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", tt.id, err, diff)
		}
	}
	for id, prompt := range map[string]string{"shell": "x", "codex": "", "claude-code": "a\x00b"} {
		if got, err := get(t, "", id).HeadlessCommand(prompt); err == nil || hint.Of(err) == "" {
			t.Errorf("%s with %q: %q, %v", id, prompt, got, err)
		}
	}
	if got, err := get(t, "", "codex").HeadlessCommand("--help"); err != nil || !slices.Contains(got, " --help") {
		t.Errorf("a prompt like an option: %q, %v", got, err)
	}
}
