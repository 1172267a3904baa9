package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/calmenu/calmenu/internal/config"
)

func TestHooks(t *testing.T) {
	h := home(t, `
on_artifact:
  - match: ["*.ipa", "*.app"]
    argv: [/usr/bin/env, "A B", "--name={name}", "{path}", "{sha256}"]
    timeout: 90s
  - argv: [/bin/true]
`, "")
	want := []config.Hook{
		{
			Match: []string{"*.ipa", "*.app"}, Argv: []string{"/usr/bin/env", "A B", "--name={name}", "{path}", "{sha256}"},
			Timeout: 90 * time.Second,
		},
		{Argv: []string{"/bin/true"}, Timeout: time.Minute},
	}
	if d := cmp.Diff(want, load(t, h, noEnv).Hooks, cmpopts.IgnoreUnexported(config.Hook{})); d != "" {
		t.Error(d)
	}
}

func TestHookRuns(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		name     string
		want     bool
	}{
		{nil, "any", true},
		{[]string{"*"}, "dir/any", true},
		{[]string{"*.ipa"}, "dir/Demo.ipa", true},
		{[]string{"dir/*.ipa"}, "dir/Demo.ipa", true},
		{[]string{"*.ipa", "*.app"}, "Demo.zip", false},
		{[]string{"*.ipa"}, "Demo.ipa/x", false},
	} {
		if got := (config.Hook{Match: c.patterns}).Runs(c.name); got != c.want {
			t.Errorf("%v, %s: %v", c.patterns, c.name, got)
		}
	}
}
