package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/config"

	"github.com/calmenu/calmenu/internal/golden"
)

func TestTemplateHoldsNothing(t *testing.T) {
	c := load(t, home(t, string(config.Template()), ""), noEnv)
	for _, e := range c.Entries() {
		if e.Origin != "default" && e.Key != "version" {
			t.Errorf("%s comes from %s", e.Key, e.Origin)
		}
	}
}

// TestTemplateWithoutHashes takes the # away from every line with a value: what is then set is what held before.
func TestTemplateWithoutHashes(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(string(config.Template())) {
		bare := strings.TrimLeft(line, " ")
		word, _, ok := strings.Cut(strings.TrimPrefix(bare, "# "), ": ")
		if ok && !strings.Contains(word, " ") && bare != line {
			line = strings.Replace(line, "# ", "", 1)
		}
		b.WriteString(line)
	}
	h := home(t, b.String(), "")
	if diff := cmp.Diff(config.Default(h).Settings, load(t, h, noEnv).Settings); diff != "" {
		t.Error(diff, b.String())
	}
}

// TestDocs keeps the tables of docs/config.md and the code in step; -update writes them.
func TestDocs(t *testing.T) {
	const path = "../../docs/config.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(data)
	for name, table := range map[string]string{
		"settings": config.Reference(), "agents": config.AgentReference(),
		"permissions": config.PermissionReference(), "hooks": config.HookReference(),
	} {
		begin, end := "<!-- "+name+": made by go test ./internal/config -update -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(got, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no marks for %s", path, name)
		}
		got = before + begin + table + end + after
	}
	golden.Text(t, path, got)
}
