package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestJudged(t *testing.T) {
	ratio := &Target{Max: 0.45, OfRatio: true}
	for _, tt := range []struct {
		name string
		f    Figure
		ok   bool
	}{
		{"no target", Figure{Value: 1e9}, true},
		{"met", Figure{Value: 49, Target: &Target{Max: 50}}, true},
		{"met exactly", Figure{Value: 50, Target: &Target{Max: 50}}, true},
		{"missed", Figure{Value: 51, Target: &Target{Max: 50}}, false},
		{"ratio met", Figure{Value: 6, Target: ratio}.against("stock", 16), true},
		{"ratio missed", Figure{Value: 6, Target: ratio}.against("stock", 12), false},
		{"ratio without a peer", Figure{Value: 6, Target: ratio}, false},
		{"ratio with a peer that took no time", Figure{Value: 6, Target: ratio}.against("stock", 0), false},
	} {
		if got := tt.f.judged().OK; got != tt.ok {
			t.Errorf("%s: ok is %v", tt.name, got)
		}
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	writeTable(&out, []Figure{
		Figure{Group: "loop", Name: "boot", Value: 6.04, Unit: "s", Target: &Target{Max: 0.45, OfRatio: true}}.
			against("stock Debian", 16.5).judged(),
		Figure{Group: "loop", Name: "status", Value: 71, Unit: "ms", Target: &Target{Max: 50}, Note: "busy"}.judged(),
	})
	want := []string{
		"GROUP  FIGURE  VALUE    PEER                   RATIO  TARGET           NOTE",
		"loop   boot    6.04 s   16.5 s (stock Debian)  0.37   <= 0.45 of peer  ok",
		"loop   status  71.0 ms                                <= 50.0 ms       MISSED  busy",
	}
	for i, line := range strings.Split(strings.TrimRight(out.String(), "\n"), "\n") {
		if got, want := strings.Fields(line), strings.Fields(want[i]); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("line %d is\n%s\nwant\n%s", i, line, want[i])
		}
	}
}

// A run of one group replaces that group's lines and leaves the others'.
func TestJSONLKeepsOtherGroups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "build", "bench.jsonl")
	for _, figures := range [][]Figure{
		{{Group: "loop", Name: "a", Value: 1}, {Group: "tunnel", Name: "b", Value: 2}},
		{{Group: "loop", Name: "c", Value: 3}},
	} {
		if err := writeJSONL(path, figures); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		var f map[string]any
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(maps.Keys(f))
		if got := strings.Join(keys, " "); got != "group name note ok peer peer_value ratio target unit value" {
			t.Errorf("%s has the keys %s", line, got)
		}
		names = append(names, f["name"].(string))
	}
	if got := strings.Join(names, " "); got != "b c" {
		t.Errorf("figures in the file: %s, want b c", got)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	ten := []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	for _, tt := range []struct {
		values []float64
		p      int
		want   float64
	}{{nil, 95, 0}, {[]float64{3}, 50, 3}, {ten, 50, 5}, {ten, 95, 10}, {ten, 90, 9}, {ten, 0, 1}} {
		if got := percentile(tt.values, tt.p); got != tt.want {
			t.Errorf("percentile(%v, %d) = %v, want %v", tt.values, tt.p, got, tt.want)
		}
	}
}

func TestTargetText(t *testing.T) {
	for _, tt := range []struct {
		target *Target
		want   string
	}{{nil, "null"}, {&Target{Max: 50}, `"value <= 50"`}, {&Target{Max: 0.45, OfRatio: true}, `"ratio <= 0.45"`}} {
		var got bytes.Buffer
		encoder := json.NewEncoder(&got)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(tt.target); err != nil || strings.TrimSpace(got.String()) != tt.want {
			t.Errorf("%+v is %s, %v, want %s", tt.target, got.String(), err, tt.want)
		}
	}
}

func TestPrompt(t *testing.T) {
	for _, tt := range []struct {
		name, screen string
		want         bool
	}{
		{"plain", "Linux bench 6.1\r\nadmin@bench:~$ ", true},
		{"coloured, after a title", "\x1b]0;admin@bench: ~\a\x1b[01;32madmin@bench\x1b[00m:\x1b[01;34m~\x1b[00m$ ", true},
		{"drawn by tmux", "\x1b[?1049h\x1b[H\x1b[J\x1b[1;1Hadmin@bench:~/workspace$ \x1b[40;1H[shell] 0:bash*", true},
		{"the title alone", "\x1b]0;admin@bench: ~\a", false},
		{"another line's dollar", "admin@bench: \r\ncosts 5$", false},
		{"nothing", "", false},
	} {
		if got := hasPrompt([]byte(tt.screen)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestChoose(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(groups) {
		t.Errorf("without a name: %d groups, %v", len(all), err)
	}
	if one, err := choose([]string{"loop"}); err != nil || len(one) != 1 {
		t.Errorf("loop: %d groups, %v", len(one), err)
	}
	if _, err := choose([]string{"lopp"}); err == nil || !strings.Contains(err.Error(), "loop") {
		t.Errorf("an unknown group: %v, want the ones there are", err)
	}
}

func TestBootToSSH(t *testing.T) {
	const journal = `
{"time":"2026-01-17T14:30:00Z","kind":"op.begin","verb":"start"}
{"time":"2026-01-17T14:30:01Z","kind":"op.phase","phase":"booting"}
{"time":"2026-01-17T14:30:02Z","kind":"op.phase","phase":"waiting for SSH"}
{"time":"2026-01-17T14:30:05Z","kind":"op.phase","phase":"waiting for SSH"}
{"time":"2026-01-17T14:30:07.5Z","kind":"op.phase","phase":"setting the clock"}
{"time":"2026-01-17T14:30:09Z","kind":"op.phase","phase":"checking isolation"}
{"time":"2026-01-17T14:30:10Z","kind":"op.end"}
`
	later := strings.ReplaceAll(journal, "14:30:09Z", "14:30:06Z")
	for _, tt := range []struct {
		name, journal string
		want          time.Duration
	}{
		{"one start", journal, 8 * time.Second},
		{"the last of two", journal + later, 5 * time.Second},
	} {
		events, err := parseJournal([]byte(tt.journal))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bootToSSH(events); err != nil || got != tt.want {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	for _, broken := range []string{"", `{"kind":"op.phase","phase":"waiting for SSH"}`, `{"kind":"op.phase","phase":"booting"}`} {
		events, err := parseJournal([]byte(broken))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bootToSSH(events); err == nil {
			t.Errorf("journal %q: a boot of %v", broken, got)
		}
	}
	if _, err := parseJournal([]byte("{")); err == nil {
		t.Error("half a line was read")
	}
}
