package config_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/config"
)

func TestParseRule(t *testing.T) {
	for _, good := range []string{
		"github.com", "GitHub.com", "*.github.com:443", "10.0.0.5", "10.0.0.0/8:22",
		"2001:db8::/32", "[2001:db8::1]:443", "[::1]", "::1", "*", "*:80", "localhost", "a_b.example",
	} {
		if _, err := config.ParseRule(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", ":", ":80", "a:", "a:0", "a:65536", "a b", "http://a", "a/b", "*.*.a",
		"*a", "10.0.0.999",
		"10.0.0.1/8", "[10.0.0.1]", "[::1]:", "[::1]x", "[::1", "fe80::1%eth0", "-a.b", "a..b", "1.2.3.4.5",
		strings.Repeat("a", 64),
	} {
		if r, err := config.ParseRule(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, r)
		}
	}
}

func TestRuleMatches(t *testing.T) {
	tests := []struct {
		rule, to string
		port     uint16
		want     bool
	}{
		{"github.com", "GITHUB.com.", 443, true},
		{"github.com", "api.github.com", 443, false},
		{"*.github.com", "api.github.com", 443, true},
		{"*.github.com", "a.b.github.com", 443, true},
		{"*.github.com", "github.com", 443, false},
		{"*.github.com", "evilgithub.com", 443, false},
		{"github.com:22", "github.com", 443, false},
		{"*:80", "x.y", 80, true},
		{"10.0.0.0/8", "10.1.2.3", 1, true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", 1, true},
		{"10.0.0.0/8:22", "10.1.2.3", 23, false},
		{"::1", "::1", 1, true},
		{"10.0.0.0/8", "ten", 1, false},
		{"*", "10.1.2.3", 1, false},
	}
	for _, tt := range tests {
		r, err := config.ParseRule(tt.rule)
		if err != nil {
			t.Fatal(err)
		}
		var got bool
		if addr, err := netip.ParseAddr(tt.to); err == nil {
			got = r.MatchesAddr(addr, tt.port)
		} else {
			got = r.MatchesName(tt.to, tt.port)
		}
		if got != tt.want {
			t.Errorf("%s matches %s:%d: %v", tt.rule, tt.to, tt.port, got)
		}
	}
}

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
