package agent_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/agent"
)

// links is what is found in a program's output on a terminal of 40 columns, given in pieces of n bytes.
func links(output string, n int) []string {
	var found []string
	l := &agent.Links{Found: func(s string) { found = append(found, s) }, Width: func() int { return 40 }}
	for len(output) > 0 {
		k := min(n, len(output))
		_, _ = l.Write([]byte(output[:k]))
		output = output[k:]
	}
	l.Flush()
	return found
}

func TestLinks(t *testing.T) {
	long := "https://example.org/oauth/authorize?code=true&client_id=9d1c250a&state=abcdef0123456789"
	tests := map[string]struct {
		output string
		want   []string
	}{
		"a line":            {"Visit: https://example.org/device\r\n", []string{"https://example.org/device"}},
		"end of sentence":   {"Go to https://example.org/a?b=c. (or https://example.org/b).", []string{"https://example.org/a?b=c", "https://example.org/b"}},
		"in colours":        {"\x1b[94mhttps://example\x1b[0m.org/x\x1b[0m\n", []string{"https://example.org/x"}},
		"wrapped by itself": {"see " + long + "\r\n", []string{long}},
		"broken at margin":  {long[:40] + "\r\n" + long[40:80] + "\r\n" + long[80:] + "\r\n\r\nPaste", []string{long}},
		"short of margin":   {long[:39] + "\r\n" + long[39:] + "\r\n", []string{strings.TrimRight(long[:39], "?")}},
		"a hyperlink":       {"\x1b]8;id=1;" + long + "\x1b\\click\x1b]8;;\x1b\\ here", []string{long}},
		"hyperlink, bell":   {"\x1b]8;;" + long + "\x07click\x1b]8;;\x07", []string{long}},
		"twice":             {long + " " + long, []string{long}},
		"title":             {"\x1b]0;https://example.org/title\x07ok", nil},
		"not https":         {"http://example.org/ ftp://example.org/ javascript:https file:///etc/passwd", nil},
		"credentials":       {"https://user:secret@example.org/ https://example.org@evil.example/", nil},
		"no host":           {"https:/// https://", nil},
		"too long":          {"https://example.org/" + strings.Repeat("x", 5000) + " https://example.org/ok", []string{"https://example.org/ok"}},
		"moved away":        {"https://example.org/a\x1b[5;1Hbcd", []string{"https://example.org/a"}},
		"foreign letters":   {"https://еxample.org/ «https://example.org/ok»", []string{"https://example.org/ok"}},
		"a device string":   {"\x1bPhttps://example.org/dcs\x1b\\", nil},
	}
	for name, tt := range tests {
		for _, n := range []int{1, 3, 1 << 20} {
			if diff := cmp.Diff(tt.want, links(tt.output, n)); diff != "" {
				t.Errorf("%s, in pieces of %d: %s", name, n, diff)
			}
		}
	}
}

func TestLinksAreFew(t *testing.T) {
	var b strings.Builder
	for i := range 100 {
		b.WriteString("https://example.org/" + strings.Repeat("a", i+1) + "\n")
	}
	if got := links(b.String(), 100); len(got) != 16 {
		t.Errorf("%d links", len(got))
	}
}

func TestOpens(t *testing.T) {
	auth := agent.Auth{Hosts: []string{"claude.ai", "*.example.org"}}
	for link, want := range map[string]bool{
		"https://claude.ai/oauth": true, "https://CLAUDE.ai/": true, "https://a.example.org/": true,
		"https://claude.ai:8443/": false, "https://claude.ai.evil.example/": false, "https://example.org/": false,
		"https://evilexample.org/": false, "http://claude.ai/": false, "https://x@claude.ai/": false,
		"https://evil.example/?claude.ai": false, "https://sub.claude.ai/": false, "": false,
	} {
		if got := auth.Opens(link); got != want {
			t.Errorf("%q: %v", link, got)
		}
	}
}

func TestReturnsToLoopback(t *testing.T) {
	for link, want := range map[string]bool{
		"https://auth.example.org/?redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fauth": true,
		"https://auth.example.org/?redirect_uri=http://127.0.0.1:80/":                 true,
		"https://auth.example.org/?redirect_uri=https://example.org/":                 false,
		"https://auth.example.org/":                                                   false,
	} {
		if got := agent.ReturnsToLoopback(link); got != want {
			t.Errorf("%s: %v", link, got)
		}
	}
}

// FuzzLinks: however the guest writes it, what is found is harmless, and does not depend on how it is read.
func FuzzLinks(f *testing.F) {
	f.Add("Visit: https://example.org/device\r\n", 3)
	f.Add("\x1b]8;;https://example.org/\x1b\\x\x1b]8;;\x1b\\", 1)
	f.Add("https://example.org/aaaaaaaaaaaaaaaaaaaa\r\nbbb", 2)
	f.Fuzz(func(t *testing.T, output string, n int) {
		whole := links(output, len(output)+1)
		if diff := cmp.Diff(whole, links(output, max(n, 1)%64+1)); diff != "" {
			t.Error(diff)
		}
		for _, l := range whole {
			if !strings.HasPrefix(l, "https://") || len(l) > 4096 || strings.ContainsAny(l, " \x1b\x07\r\n\"'<>`") {
				t.Errorf("found %q", l)
			}
		}
	})
}
