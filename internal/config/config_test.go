package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/golden"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

func noEnv(string) string { return "" }

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// home makes a home with a config.yaml, and a vm.yaml for workspace "demo" unless it is empty.
func home(t testing.TB, configYAML, vmYAML string) config.Home {
	t.Helper()
	h := config.Home{Dir: t.TempDir()}
	if err := h.Ensure(); err != nil {
		t.Fatal(err)
	}
	write(t, h.ConfigFile(), configYAML)
	if vmYAML != "" {
		if err := os.MkdirAll(h.WorkspaceDir("demo"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, h.VMFile("demo"), vmYAML)
	}
	return h
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, h config.Home, e func(string) string) *config.Config {
	t.Helper()
	c, err := config.Load(h, e)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func workspace(t testing.TB, c *config.Config) *config.Workspace {
	t.Helper()
	w, err := c.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestMistakes reads each testdata/bad/*.yaml as a config.yaml; beside it stands every line a person gets to read.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no test data", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h := home(t, string(data), "")
			_, err = config.Load(h, noEnv)
			var problems *config.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Load = %v, want *Problems", err)
			}
			got := strings.ReplaceAll(problems.Error()+"\n", h.Dir+"/", "")
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
		})
	}
}

func TestMistakesInVMFile(t *testing.T) {
	tests := map[string]struct{ yaml, want string }{
		"other name": {"name: other\n", `vm.yaml:1:7: name: not valid "other"; expected "demo", the name of its directory`},
		"both shapes": {
			"cpu: 2\nresources: {cpu: 4}\n",
			`vm.yaml:2:18: resources.cpu: given twice: "4"; expected only cpu, which stands in line 1`,
		},
		"key of config.yaml": {"terminal: xterm\n", `vm.yaml:1:1: terminal: unknown key; ` +
			`expected one of agent, agent_config, ` +
			`base_image, cpu, created_at, disk_size, disposable, github, isolation, memory, name, network, outbox, output, proxy, ` +
			`resources, snapshots, vm`},
		"repository": {
			"github: {repos: [{name: a b, brnch: x}]}\n",
			`vm.yaml:1:25: github.repos[0].name: not valid "a b"; expected a repository's name` + "\n" +
				`vm.yaml:1:30: github.repos[0].brnch: unknown key; expected a known key; did you mean branch?`,
		},
		"time": {
			"created_at: yesterday\n",
			`vm.yaml:1:13: created_at: not valid yesterday; expected a time such as 2026-01-17T14:30:00Z`,
		},
		"permissions": {
			"agent_config: {codex: {mode: 1}}\n",
			`vm.yaml:1:30: agent_config.codex.mode: wrong type 1; expected a mode the agent knows`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := home(t, "", tt.yaml)
			_, err := load(t, h, noEnv).Workspace("demo")
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(err.Error(), h.WorkspaceDir("demo")+"/", "")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMistakesOutsideFiles(t *testing.T) {
	h := home(t, "", "")
	_, err := config.Load(h, env("CAL_VM_CPU", "many", "CAL_PROXY_MODE", "maybe", "CAL_OUTPUT_SYNC_DIR", h.Dir+"/x"))
	want := `CAL_VM_CPU: not valid "many"; expected a whole number from 1 to 64
CAL_OUTPUT_SYNC_DIR: not valid "` + h.Dir + `/x"; expected a directory of its own, not / and nothing around or in ` +
		h.Dir + `
CAL_PROXY_MODE: not valid "maybe"; expected auto, on or off`
	if err == nil || err.Error() != want {
		t.Errorf("Load = %v\nwant %s", err, want)
	}
	_, err = load(t, h, noEnv).WithFlags(map[string]string{"cpu": "0", "isolation.defaults.vm.memori": "1"})
	want = "--cpu: out of range \"0\"; expected a whole number from 1 to 64\n" +
		"isolation.defaults.vm.memori: unknown key; expected a known key; did you mean isolation.defaults.vm.memory?"
	if err == nil || err.Error() != want {
		t.Errorf("WithFlags = %v\nwant %s", err, want)
	}
}

// TestOwnersFiles reads the two examples the design shows.
func TestOwnersFiles(t *testing.T) {
	h := home(t, `isolation:
  defaults:
    vm: {cpu: 4, memory: 8192, disk_size: 80}
    github: {default_branch_prefix: "agent/"}
    output: {sync_dir: "~/cal-output"}
agents:
  claude-code: {install_command: "npm install -g @anthropic-ai/claude-code"}
`, `name: "demo"
resources: {cpu: 6, memory: 12288}
agent: "claude-code"
github: {repos: [{name: "my-app", branch: "agent/feature"}, {name: "b", cloned_at: 2026-01-17T14:30:00Z}]}
created_at: "2026-01-17T14:30:00Z"
agent_config: {claude-code: {mode: acceptEdits, denied_tools: ["Bash(sudo:*)"]}}
`)
	c := load(t, h, noEnv)
	if got := c.Agents["claude-code"].InstallCommand.Args(); !cmp.Equal(got,
		[]string{"npm", "install", "-g", "@anthropic-ai/claude-code"}) {
		t.Errorf("install command %q", got)
	}
	if got := c.Origin("agents.claude-code.install_command"); got != "config.yaml:7" {
		t.Errorf("origin of the install command is %q", got)
	}
	w := workspace(t, c)
	if w.VM.CPU != 6 || w.VM.MemoryMB != 12288 || w.VM.DiskGB != 80 || w.Agent != "claude-code" {
		t.Errorf("resources %+v agent %q", w.VM, w.Agent)
	}
	when := time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)
	want := []config.Repo{{Name: "my-app", Branch: "agent/feature"}, {Name: "b", ClonedAt: when}}
	if diff := cmp.Diff(want, w.Repos); diff != "" || !w.CreatedAt.Equal(when) {
		t.Error(diff, w.CreatedAt)
	}
	if got := w.AgentConfig["claude-code"]; got.Mode != "acceptEdits" || len(got.DeniedTools) != 1 {
		t.Errorf("agent config %+v", got)
	}
	if got := w.Origin("isolation.defaults.vm.cpu"); got != "vm.yaml:2" {
		t.Errorf("origin %q", got)
	}
	user, _ := os.UserHomeDir()
	if want := filepath.Join(user, "cal-output"); w.Output.SyncDir != want {
		t.Errorf("sync dir %q, want %q", w.Output.SyncDir, want)
	}
}

// TestOlderFlatFile reads the flat shape, which an earlier reader of such files was alone in knowing.
func TestOlderFlatFile(t *testing.T) {
	h := home(t, "", "cpu: 3\nmemory: 3000\ndisk_size: 30\nbase_image: debian\n"+
		"snapshots: [{name: a, created_at: 2026-01-17T14:30:00Z}]\n")
	w := workspace(t, load(t, h, noEnv))
	if w.VM.CPU != 3 || w.VM.MemoryMB != 3000 || w.VM.DiskGB != 30 || w.VM.BaseImage != "debian" {
		t.Errorf("%+v", w.VM)
	}
	if len(w.ListedSnapshots) != 1 || w.ListedSnapshots[0].Name != "a" {
		t.Errorf("%+v", w.ListedSnapshots)
	}
	if got := w.Origin("isolation.defaults.vm.memory"); got != "vm.yaml:2" {
		t.Errorf("origin %q", got)
	}
}

// TestPrecedence sets a value in every combination of places: the strongest wins and is named.
func TestPrecedence(t *testing.T) {
	for places := range 16 {
		set := func(i int) bool { return places&(1<<i) != 0 }
		configYAML, vmYAML := "# nothing\n", "name: demo\n"
		var pairs []string
		flags := map[string]string{}
		value, origin := config.Default(config.Home{Dir: "/x"}).VM.CPU, "default"
		if set(0) {
			configYAML, value, origin = "isolation: {defaults: {vm: {cpu: 11}}}\n", 11, "config.yaml:1"
		}
		general, generalOrigin := value, origin
		if set(1) {
			vmYAML, value, origin = "name: demo\nresources:\n  cpu: 12\n", 12, "vm.yaml:3"
		}
		if set(2) {
			pairs = []string{"CAL_VM_CPU", "13"}
			value, origin = 13, "CAL_VM_CPU"
			general, generalOrigin = value, origin
		}
		if set(3) {
			flags["cpu"] = "14"
			value, origin = 14, "--cpu"
			general, generalOrigin = value, origin
		}
		c, err := load(t, home(t, configYAML, vmYAML), env(pairs...)).WithFlags(flags)
		if err != nil {
			t.Fatal(err)
		}
		const key = "isolation.defaults.vm.cpu"
		if w := workspace(t, c); w.VM.CPU != value || w.Origin(key) != origin {
			t.Errorf("places %04b: %d from %s, want %d from %s", places, w.VM.CPU, w.Origin(key), value, origin)
		}
		if c.VM.CPU != general || c.Origin(key) != generalOrigin {
			t.Errorf("places %04b: in general %d from %s, want %d from %s", places, c.VM.CPU, c.Origin(key), general,
				generalOrigin)
		}
	}
}

func TestNothingWritten(t *testing.T) {
	h := config.Home{Dir: t.TempDir()}
	c := load(t, h, noEnv)
	if diff := cmp.Diff(config.Default(h).Settings, c.Settings); diff != "" {
		t.Error(diff)
	}
	for _, e := range c.Entries() {
		if e.Origin != "default" {
			t.Errorf("%s comes from %s", e.Key, e.Origin)
		}
	}
	if c.Isolation.CheckInterval != time.Minute || c.Outbox.MaxFile != 2e9 || c.Session.PrefixByte() != 0x1d {
		t.Errorf("%+v", c.Settings)
	}
	_, err := c.Workspace("demo")
	if !errors.Is(err, fs.ErrNotExist) || hint.Of(err) == "" {
		t.Errorf("a workspace that is not there: %v, hint %q", err, hint.Of(err))
	}
	if all, err := c.Workspaces(); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

func TestDefaults(t *testing.T) {
	tests := []struct {
		guest        string
		cpus, memory int
		want         config.Resources
	}{
		{"darwin", 10, 32768, config.Resources{CPU: 4, MemoryMB: 8192, DiskGB: 80}},
		{"darwin", 8, 8192, config.Resources{CPU: 4, MemoryMB: 4096, DiskGB: 80}},
		{"linux", 16, 65536, config.Resources{CPU: 2, MemoryMB: 2048, DiskGB: 20}},
		{"linux", 1, 2048, config.Resources{CPU: 1, MemoryMB: 1024, DiskGB: 20}},
		{"linux", 2, 0, config.Resources{CPU: 2, MemoryMB: 2048, DiskGB: 20}},
		{"linux", 2, 512, config.Resources{CPU: 2, MemoryMB: 512, DiskGB: 20}},
	}
	for _, tt := range tests {
		if got := config.Defaults(tt.guest, tt.cpus, tt.memory); got != tt.want {
			t.Errorf("Defaults(%s, %d, %d) = %+v, want %+v", tt.guest, tt.cpus, tt.memory, got, tt.want)
		}
	}
}

func TestCheckGuest(t *testing.T) {
	w := workspace(t, load(t, home(t, "", "resources:\n  cpu: 1\n  memory: 2048\n  disk_size: 20\n"), noEnv))
	if err := w.Check("linux"); err != nil {
		t.Error(err)
	}
	want := `vm.yaml:2: isolation.defaults.vm.cpu: too small: 1; expected at least 2 for a macOS guest
vm.yaml:3: isolation.defaults.vm.memory: too small: 2048; expected at least 4096 MB for a macOS guest
vm.yaml:4: isolation.defaults.vm.disk_size: too small: 20; expected at least 50 GB for a macOS guest`
	if err := w.Check("darwin"); err == nil || err.Error() != want {
		t.Errorf("Check = %v", err)
	}
}

func TestSyncDir(t *testing.T) {
	h := home(t, "", "")
	user, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for dir, good := range map[string]bool{
		"/": false, "/..": false, user: false, "~/": false, h.Dir: false, h.Dir + "/isolation": false,
		filepath.Dir(filepath.Dir(h.Dir)): false, filepath.Dir(h.Dir): false,
		filepath.Dir(h.Dir) + "/out": true, "~/cal-output": true,
	} {
		if _, err := config.Load(h, env("CAL_OUTPUT_SYNC_DIR", dir)); (err == nil) != good {
			t.Errorf("sync_dir %q: %v", dir, err)
		}
	}
}

// TestNameRule keeps this room's rule for names equal to the drivers'.
func TestNameRule(t *testing.T) {
	c := load(t, home(t, "", ""), noEnv)
	for _, name := range []string{
		"a", "0a", "my-app", "", "-a", "A", "a_b", "a/b", "..", "ä", "a\n",
		strings.Repeat("a", 40), strings.Repeat("a", 41),
	} {
		_, err := c.Workspace(name)
		if ours := errors.Is(err, fs.ErrNotExist); ours != (vm.ValidName(name) == nil) {
			t.Errorf("name %q: %v here, %v for drivers", name, err, vm.ValidName(name))
		}
	}
}

func TestLocate(t *testing.T) {
	t.Setenv("CAL_HOME", "some/where")
	h, err := config.Locate()
	if err != nil || !filepath.IsAbs(h.Dir) || !strings.HasSuffix(h.VMFile("x"), "/some/where/isolation/vms/x/vm.yaml") {
		t.Error(h, err)
	}
	t.Setenv("CAL_HOME", "")
	t.Setenv("HOME", "/home/somebody")
	if h, err := config.Locate(); err != nil || h.Dir != "/home/somebody/.cal" {
		t.Error(h, err)
	}
}
