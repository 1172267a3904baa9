package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/config"
)

const commented = `# My settings, do not lose this line.

isolation:   # the VM
  defaults:
    vm: {cpu: 4, memory: 8192}   # enough

    # branches
    github:
      default_branch_prefix: "agent/" # ours
  snapshots:
    # none yet

network:
  allow:
    - github.com   # code
    - "*.debian.org"
ui: {}
`

// TestSetKeepsTheRest shows what a change leaves of a file: everything but the value.
func TestSetKeepsTheRest(t *testing.T) {
	tests := []struct{ name, key, value, old, new string }{
		{"in braces", "cpu", "8", "cpu: 4,", "cpu: 8,"},
		{"new in braces", "isolation.defaults.vm.disk_size", "30", "{cpu: 4,", "{disk_size: 30, cpu: 4,"},
		{"quoted", "isolation.defaults.github.default_branch_prefix", "bot/", `"agent/" # ours`, `bot/ # ours`},
		{
			"new in a section", "isolation.defaults.github.auto_push", "true",
			"    github:\n", "    github:\n      auto_push: true\n",
		},
		{
			"in an empty section", "isolation.snapshots.max_auto_snapshots", "5",
			"snapshots:\n", "snapshots:\n    max_auto_snapshots: 5\n",
		},
		{"in empty braces", "ui.theme", "dark", "ui: {}", "ui: {theme: dark}"},
		{"new section", "session.banner", "false", "ui: {}\n", "ui: {}\nsession:\n  banner: false\n"},
		{"new at the top", "agent", "codex", "ui: {}\n", "ui: {}\nagent: codex\n"},
		{
			"agent", "agents.mine.launch_command", "mine --tui 'a b'", "ui: {}\n",
			"ui: {}\nagents:\n  mine:\n    launch_command: [\"mine\", \"--tui\", \"a b\"]\n",
		},
		{
			"word that YAML takes for another type", "proxy", "on",
			"defaults:\n", "defaults:\n    proxy:\n      mode: \"on\"\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := home(t, commented, "")
			if err := load(t, h, noEnv).Set(h.ConfigFile(), tt.key, tt.value); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(h.ConfigFile())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Replace(commented, tt.old, tt.new, 1), string(got)); diff != "" {
				t.Error(diff)
			}
			load(t, h, noEnv)
		})
	}
}

// TestSetListOverLines replaces a list that spans lines: comments on its elements go with them, all others stay.
func TestSetListOverLines(t *testing.T) {
	h := home(t, commented, "")
	if err := load(t, h, noEnv).Set(h.ConfigFile(), "network.allow", "example.org:443, 10.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(h.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"# My settings", "# the VM", "# enough", "# branches", "# ours", "# none yet"} {
		if !strings.Contains(string(got), kept) {
			t.Errorf("lost %q in\n%s", kept, got)
		}
	}
	if diff := cmp.Diff([]string{"example.org:443", "10.0.0.0/8"}, load(t, h, noEnv).Network.Allow); diff != "" {
		t.Error(diff)
	}
}

func TestSetRefuses(t *testing.T) {
	h := home(t, "agent: codex\n", "name: demo\ncpu: 2 # flat\n")
	c := load(t, h, noEnv)
	tests := []struct{ file, key, value, want string }{
		{h.ConfigFile(), "cpu", "many", `cpu: not valid "many"; expected a whole number from 1 to 64`},
		{
			h.ConfigFile(), "isolation.cpu", "1",
			h.ConfigFile() + ": isolation.cpu: unknown key; expected a key of docs/config.md",
		},
		{
			h.VMFile("demo"), "terminal", "xterm",
			h.VMFile("demo") + ": terminal: not a setting of one workspace; expected it in config.yaml",
		},
		{h.VMFile("demo"), "github.repos[].name", "x", h.VMFile("demo") +
			": github.repos[].name: unknown key; expected a key of docs/config.md"},
		{h.ConfigFile(), "isolation.defaults.output.sync_dir", "/", `isolation.defaults.output.sync_dir: not valid "/"; ` +
			`expected a directory of its own, not / and nothing around or in ` + h.Dir},
	}
	for _, tt := range tests {
		err := c.Set(tt.file, tt.key, tt.value)
		var problems *config.Problems
		if !errors.As(err, &problems) || err.Error() != tt.want {
			t.Errorf("Set %s = %v\nwant %s", tt.key, err, tt.want)
		}
	}
	if err := c.Set(h.VMFile("none"), "cpu", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a workspace that is not there: %v", err)
	}
	write(t, h.ConfigFile(), "agnt: codex\n")
	var problems *config.Problems
	if err := c.Set(h.ConfigFile(), "agent", "shell"); !errors.As(err, &problems) {
		t.Errorf("a file with problems: %v", err)
	}
	write(t, h.ConfigFile(), "ui: &a {theme: dark}\n")
	if err := c.Set(h.ConfigFile(), "ui.theme", "light"); err != nil {
		t.Errorf("an anchor nobody uses: %v", err)
	}
}

func TestSetInVMFile(t *testing.T) {
	h := home(t, "", "name: demo\ncpu: 2 # flat\n")
	c := load(t, h, noEnv)
	for _, set := range [][2]string{
		{"isolation.defaults.vm.cpu", "3"},
		{"resources.memory", "1024"},
		{"agent_config.codex.mode", "plan"},
		{"agent", "codex"},
	} {
		if err := c.Set(h.VMFile("demo"), set[0], set[1]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(h.VMFile("demo"))
	if err != nil {
		t.Fatal(err)
	}
	want := "name: demo\ncpu: 3 # flat\nresources:\n  memory: 1024\n" +
		"agent_config:\n  codex:\n    mode: plan\nagent: codex\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestSetKeepsModeAndLink: the file of a dotfiles repository stays there, readable by whom it was.
func TestSetKeepsModeAndLink(t *testing.T) {
	h := home(t, "", "")
	real := filepath.Join(t.TempDir(), "dotfile.yaml")
	write(t, real, "agent: codex\n")
	if err := errors.Join(os.Chmod(real, 0o640), os.Remove(h.ConfigFile()), os.Symlink(real, h.ConfigFile())); err != nil {
		t.Fatal(err)
	}
	if err := load(t, h, noEnv).Set(h.ConfigFile(), "agent", "shell"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(real)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Error(info.Mode(), err)
	}
	if link, err := os.Readlink(h.ConfigFile()); err != nil || link != real {
		t.Error(link, err)
	}
	if got := load(t, h, noEnv).Agent; got != "shell" {
		t.Error(got)
	}
}

// TestSetAtOnce lets many writers change different keys: none loses another's.
func TestSetAtOnce(t *testing.T) {
	h := home(t, "# shared\n", "")
	var wg sync.WaitGroup
	values := map[string]string{
		"cpu": "3", "memory": "300", "disk": "30", "outbox.max_files": "33", "agent": "codex",
		"isolation.snapshots.max_auto_snapshots": "9",
	}
	for key, value := range values {
		c := load(t, h, noEnv)
		wg.Go(func() {
			if err := c.Set(h.ConfigFile(), key, value); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		})
	}
	wg.Wait()
	c := load(t, h, noEnv)
	if c.VM.CPU != 3 || c.VM.MemoryMB != 300 || c.VM.DiskGB != 30 || c.Outbox.MaxFiles != 33 || c.Snapshots.MaxAuto != 9 ||
		c.Agent != "codex" {
		t.Errorf("%+v", c.Settings)
	}
}

func TestWorkspaces(t *testing.T) {
	h := home(t, "", "")
	c := load(t, h, noEnv)
	values := map[string]string{
		"cpu": "3", "network.allow": "github.com,*.debian.org:443", "proxy.mode": "off",
		"agent": "codex",
	}
	if err := c.CreateWorkspace("demo", values); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(h.VMFile("demo"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfterN(string(data), "\n", 3)
	want := `agent: codex
resources:
  cpu: 3
proxy:
  mode: "off"
network:
  allow: ["github.com", "*.debian.org:443"]
`
	if diff := cmp.Diff("name: demo\n"+want, lines[0]+lines[2]); diff != "" {
		t.Error(diff)
	}
	if w := workspace(t, c); w.CreatedAt.IsZero() || w.VM.CPU != 3 || w.Proxy.Mode != "off" {
		t.Errorf("%+v", w)
	}
	if err := c.CreateWorkspace("demo", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second workspace of the same name: %v", err)
	}
	err = c.CreateWorkspace("other", map[string]string{"cpu": "0", "colour": "red", "terminal": "x"})
	var problems *config.Problems
	if !errors.As(err, &problems) || len(problems.List) != 3 {
		t.Errorf("three mistakes: %v", err)
	}
	if err := c.CreateWorkspace("../x", nil); err == nil {
		t.Error("a name that escapes")
	}
	if err := os.MkdirAll(filepath.Join(h.WorkspacesDir(), "no-vm-file"), 0o700); err != nil {
		t.Fatal(err)
	}
	if all, err := c.Workspaces(); err != nil || !cmp.Equal(all, []string{"demo"}) {
		t.Error(all, err)
	}
	for range 2 { // also when there is nothing left to delete
		if err := c.DeleteWorkspace("demo"); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := c.Workspaces(); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

// TestSetThenGet: whatever is set, in whatever order, is what is read, and nothing else changes.
func TestSetThenGet(t *testing.T) {
	number := func(least, most int) *rapid.Generator[string] {
		return rapid.Map(rapid.IntRange(least, most), func(n int) string { return fmt.Sprint(n) })
	}
	among := func(texts ...string) *rapid.Generator[string] { return rapid.SampledFrom(texts) }
	generators := map[string]*rapid.Generator[string]{
		"isolation.defaults.vm.cpu":                       number(1, 64),
		"isolation.defaults.vm.memory":                    number(256, 9999),
		"isolation.defaults.proxy.mode":                   among("auto", "on", "off"),
		"isolation.defaults.github.default_branch_prefix": among("", "a/", "true", "1/2/", "null"),
		"isolation.snapshots.snapshot_prefix":             rapid.StringMatching(`[a-z][a-z0-9-]{0,19}`),
		"isolation.snapshots.mode":                        among("auto", "warm", "cold"),
		"isolation.snapshots.max_total_gib":               number(0, 65536),
		"network.allow":                                   among("", "a.io", "*.a.io:443, 10.0.0.0/8", "[::1]:22"),
		"session.prefix_key":                              among("ctrl-a", "ctrl-]", "ctrl-[", `ctrl-\`, "ctrl-^"),
		"outbox.max_file":                                 among("1kB", "3GB", "2GiB", "1.5MB", "1025KiB"),
		"isolation.check_interval":                        among("10s", "90s", "24h", "1h30m"),
		"ui.start_at_login":                               among("true", "false"),
		"image.mirror":                                    among("", "http://example.org/debian#x: y"),
		"terminal":                                        among("auto", "xterm -T 'a: b # c' -e"),
	}
	var keys []string
	for key := range generators {
		keys = append(keys, key)
	}
	h := home(t, "", "")
	files := []string{"", commented, "{}\n", "# only this", "ui:\n    theme: dark", string(config.Template())}
	rapid.Check(t, func(r *rapid.T) {
		write(t, h.ConfigFile(), rapid.SampledFrom(files).Draw(r, "file"))
		before := load(t, h, noEnv)
		want := map[string]string{}
		for range rapid.IntRange(1, 3).Draw(r, "changes") {
			key := rapid.SampledFrom(keys).Draw(r, "key")
			text := generators[key].Draw(r, key)
			if err := before.Set(h.ConfigFile(), key, text); err != nil {
				r.Fatalf("set %s to %q: %v", key, text, err)
			}
			want[key] = text
		}
		after := load(t, h, noEnv)
		byEnv, err := config.Load(h, func(name string) string {
			for key, text := range want {
				if e, _ := before.Get(key); e.Env == name {
					return text
				}
			}
			return ""
		})
		if err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(byEnv.Settings, after.Settings); diff != "" {
			r.Fatalf("set %v: %s", want, diff)
		}
		for _, e := range after.Entries() {
			if _, changed := want[e.Key]; changed {
				if !strings.HasPrefix(e.Origin, "config.yaml:") {
					r.Fatalf("%s comes from %s", e.Key, e.Origin)
				}
			} else if was, _ := before.Get(e.Key); !cmp.Equal(was.Value, e.Value) {
				r.Fatalf("%s changed from %v to %v", e.Key, was.Value, e.Value)
			}
		}
	})
}

func TestSetAListWithCommasInIt(t *testing.T) {
	h := home(t, "", "name: demo # mine\nnetwork:\n  # why\n  allow: [a.test] # so\n")
	c := load(t, h, noEnv)
	if err := c.Set(h.VMFile("demo"), "network.allow", `["a.test", "b.test:80,443 public", "it's"]`); err == nil {
		t.Error("a name with an apostrophe was taken")
	}
	if err := c.Set(h.VMFile("demo"), "network.allow", `["a.test","b.test:80,443 public"]`); err != nil {
		t.Fatal(err)
	}
	w, err := load(t, h, noEnv).Workspace("demo")
	if err != nil || !slices.Equal(w.Network.Allow, []string{"a.test", "b.test:80,443 public"}) {
		t.Errorf("%v, %v", w.Network.Allow, err)
	}
	data, err := os.ReadFile(h.VMFile("demo"))
	if err != nil || strings.Count(string(data), "#") != 3 {
		t.Errorf("%s, %v", data, err)
	}
}
