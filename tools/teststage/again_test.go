package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestAgain runs a stage on packages whose tests fail at their first run only, or in ways that no second run excuses.
func TestAgain(t *testing.T) {
	const once = `package a

import (
	"os"
	"testing"
)

func once(t *testing.T) {
	file := t.Name()[len("Test"):][:4]
	if _, err := os.Stat(file); err != nil {
		os.WriteFile(file, nil, 0o644)
		t.Fatal("what a pity")
	}
}
`
	const module = "module m\n\ngo 1.25\n"
	for name, c := range map[string]struct {
		tests string
		code  int
		want  []string
	}{
		"passes alone": {
			`func TestOnce(t *testing.T) { t.Run("sub", once); t.Run("good", func(*testing.T) {}) }`, 0,
			[]string{"what a pity", "once more, alone: m/a ^TestOnce$/^sub$", "FLAKY: failed, and passed alone: m/a TestOnce/sub", "0 failed"},
		},
		"fails again": {
			`func TestOnce(t *testing.T) { once(t) }; func TestEver(t *testing.T) { t.Error("never") }`, 1,
			[]string{"once more, alone: m/a ^TestOnce$|^TestEver$", "2 failed"},
		},
		"skips itself then": {
			`func TestOnce(t *testing.T) { defer func() { if !t.Failed() { t.Skip("not now") } }(); once(t) }`, 1,
			[]string{"once more, alone", "1 failed"},
		},
		"panics": {`func TestOnce(t *testing.T) { defer func() { if t.Failed() { panic("!") } }(); once(t) }`, 1, []string{"1 failed"}},
		"many": {
			`func TestOnce(t *testing.T) { for range 4 { t.Run("sub", func(t *testing.T) { t.Error("what a pity") }) } }`, 1,
			[]string{"5 failed"},
		},
		"besides its tests": {`func TestMain(m *testing.M) { m.Run(); os.Exit(1) }`, 1, []string{"FAIL"}},
		"does not build":    {`func TestOnce(t *testing.T) { nonsense }`, 1, []string{"nonsense"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.Mkdir("a", 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"go.mod": module, "a/a_test.go": once + c.tests + "\n"} {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			if code := run(t.Context(), []string{"unit"}, &out, &out); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in:\n%s", want, out.String())
				}
			}
			if again := strings.Contains(strings.Join(c.want, ""), "once more"); again != strings.Contains(out.String(), "once more") {
				t.Errorf("run again: %t, want %t", !again, again)
			}
		})
	}
}
