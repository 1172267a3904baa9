package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/config"
)

func TestSplitWords(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  a  b\tc ", []string{"a", "b", "c"}},
		{`a 'b c' "d 'e'" f\ g`, []string{"a", "b c", "d 'e'", "f g"}},
		{`x '' ""`, []string{"x", "", ""}},
		{`"\"\\\$ \n"`, []string{`"\$ \n`}},
		{"--a=b@c:d,e%f+g a~b c#d", []string{"--a=b@c:d,e%f+g", "a~b", "c#d"}},
	}
	for _, tt := range tests {
		got, err := config.SplitWords(tt.in)
		if err != nil || !cmp.Equal(got, tt.want) {
			t.Errorf("SplitWords(%q) = %q, %v", tt.in, got, err)
		}
	}
	for _, bad := range []string{
		"'", `"a`, `a\`, "a | b", "$HOME", "`a`", `"$a"`, "~/x", "a > b",
		"a; b", "a*", "# a", "{a,b}",
	} {
		if got, err := config.SplitWords(bad); err == nil {
			t.Errorf("SplitWords(%q) = %q", bad, got)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"cpu", "memory", "disk_size", "base_image"}
	for in, want := range map[string]string{
		"cpus": "cpu", "CPU": "cpu", "memroy": "memory", "diskSize": "disk_size",
		"baseimage": "base_image", "colour": "", "": "", strings.Repeat("m", 1000): "",
	} {
		if got := config.Nearest(in, words); got != want {
			t.Errorf("Nearest(%.20q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzLoad feeds anything as both files: an answer or *Problems with places, never a panic, in bounded time.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(commented)
	f.Add(string(config.Template()))
	f.Add("name: demo\nresources: {cpu: 6}\ngithub: {repos: [{name: a}]}\n")
	f.Add("a: &a [*a]\nagents: *a\n")
	f.Add("agents: &a {b: &b {name: *a}, c: *b}")
	f.Add(strings.Repeat("[", 5000))
	f.Add(strings.Repeat("a:\n ", 3000))
	h := home(f, "", "name: demo\n")
	f.Fuzz(func(t *testing.T, text string) {
		write(t, h.ConfigFile(), text)
		c, err := config.Load(h, noEnv)
		checkError(t, err)
		if err == nil {
			if err := c.Set(h.ConfigFile(), "cpu", "7"); err == nil && load(t, h, noEnv).VM.CPU != 7 {
				t.Error("set, and not there")
			}
		}
		write(t, h.VMFile("demo"), text)
		_, err = config.Default(h).Workspace("demo")
		checkError(t, err)
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var problems *config.Problems
	if err == nil {
		return
	}
	if !errors.As(err, &problems) || len(problems.List) == 0 {
		t.Fatalf("not *Problems: %v", err)
	}
	for _, p := range problems.List {
		if p.File == "" || p.What == "" || strings.ContainsAny(p.String(), "\r\n\x00\x1b") {
			t.Errorf("a problem that is no line for a person: %q", p.String())
		}
	}
}
