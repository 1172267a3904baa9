package sync

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/golden"
)

// golden are the lines of a manifest, of each kind.
func goldenLines() []line {
	at := time.Date(2026, 1, 17, 14, 30, 0, 123_000_000, time.UTC)
	report := Artifact{
		Name: "dir/report.txt", Path: "/home/me/cal-output/demo/dir/report.txt", SHA256: strings.Repeat("ab", 32), Size: 6,
		Mode: 0o644, ModTime: at.Add(-time.Hour), LandedAt: at, Workspace: "demo", Agent: "claude", Version: 1,
	}
	app := report
	app.Name, app.Path, app.Bundle, app.Mode, app.Version = "My.app", "/home/me/cal-output/demo/My.app", true, 0o755, 2
	return []line{
		{Event: eventLanded, Time: at, Source: "6:1:2:3:4:420:99", Artifact: &report},
		{Event: eventSeen, Time: at, Source: "6:5:6:7:8:420:99", Artifact: &report},
		{Event: eventLanded, Time: at, Source: strings.Repeat("cd", 32), Artifact: &app},
		{Event: eventRefused, Time: at, Entry: `new\nline`, Reason: "name has the control character U+000A"},
	}
}

func noFlush() error { return nil }

func TestManifestLines(t *testing.T) {
	state := t.TempDir()
	m := &manifest{path: filepath.Join(state, manifestName), clock: time.Now}
	if err := m.refresh(noFlush); err != nil {
		t.Fatal(err)
	}
	m.now = "" // no mark of this boot
	if err := m.append(goldenLines()...); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(m.path)
	if err != nil {
		t.Fatal(err)
	}
	golden.Text(t, "testdata/manifest.jsonl", string(got))

	artifacts, err := ReadManifest(state)
	if err != nil {
		t.Fatal(err)
	}
	lines := goldenLines()
	if d := cmp.Diff([]Artifact{*lines[2].Artifact, *lines[0].Artifact}, artifacts); d != "" {
		t.Errorf("newest first (-want +got):\n%s", d)
	}
	again := &manifest{path: m.path, clock: time.Now}
	if err := again.refresh(noFlush); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m.known, again.known, cmp.AllowUnexported(record{})); d != "" {
		t.Errorf("what was written is not what is read:\n%s", d)
	}
	if d := cmp.Diff(m.refused, again.refused); d != "" {
		t.Errorf("what was written is not what is read:\n%s", d)
	}
}

// TestPlainLines: lines as they are written are read the quick way, but for names that encoding/json escapes.
func TestPlainLines(t *testing.T) {
	text, err := os.ReadFile("testdata/manifest.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for one := range bytes.Lines(text) {
		if _, ok := readPlain(one); ok == bytes.ContainsRune(one, '\\') {
			t.Errorf("%v: %s", ok, one)
		}
	}
}

func TestATornManifestLosesOneLine(t *testing.T) {
	want, err := os.ReadFile("testdata/manifest.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	name := filepath.Join(state, manifestName)
	for cut := range want {
		whole := bytes.Count(want[:cut], []byte("\n"))
		if bytes.HasPrefix(want[cut:], []byte("\n")) {
			whole++ // all of it but the end of the line
		}
		lines, err := parseLines(bytes.NewReader(want[:cut]))
		if err != nil || len(lines) != whole {
			t.Fatalf("cut at %d: %d lines, want %d; %v", cut, len(lines), whole, err)
		}
	}
	torn := append(bytes.Clone(want), `{"v":1,"event":"landed","na`...)
	if err := os.WriteFile(name, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	m := &manifest{path: name, keep: 5, clock: time.Now}
	if err := m.refresh(noFlush); err != nil {
		t.Fatal(err)
	}
	if err := m.append(goldenLines()[0]); err != nil {
		t.Fatal(err)
	}
	if artifacts, err := ReadManifest(state); err != nil || len(artifacts) != 3 {
		t.Errorf("%d artifacts, %v", len(artifacts), err)
	}
}

func TestReadManifestOfNothing(t *testing.T) {
	if a, err := ReadManifest(filepath.Join(t.TempDir(), "none")); len(a) != 0 || err != nil {
		t.Error(a, err)
	}
}

// TestWhatAHostsCrashTookIsFetchedAgain has the host boot between two passes: what is not flushed is looked at, and what
// the disk has lost of it comes again.
func TestWhatAHostsCrashTookIsFetchedAgain(t *testing.T) {
	for _, c := range []struct {
		what    string
		flushed bool
		want    string // fetched again
	}{
		{"not flushed", false, "lost"},
		{"flushed", true, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := newOutbox(t)
			b.put("kept", "kept")
			b.put("lost", "lost")
			b.once()
			if c.flushed {
				b.must(Flush(t.Context(), b.o))
			}
			b.must(os.WriteFile(filepath.Join(b.o.Dest, "lost"), make([]byte, 4), 0o644)) // as file systems leave it
			// The lines were written in another boot than this.
			name := filepath.Join(b.o.State, manifestName)
			text, err := os.ReadFile(name)
			b.must(err)
			b.must(os.WriteFile(name, bytes.ReplaceAll(text, []byte(bootID()), []byte("another")), 0o600))
			if got := strings.Join(landed(b.once()), " "); got != c.want {
				t.Errorf("fetched again: %q, want %q", got, c.want)
			}
			// It is looked at once.
			b.must(os.WriteFile(filepath.Join(b.o.Dest, "kept"), nil, 0o644))
			if r := b.once(); len(r.Landed) != 0 {
				t.Errorf("then: %v", landed(r))
			}
		})
	}
}

func TestCompaction(t *testing.T) {
	m := &manifest{path: filepath.Join(t.TempDir(), manifestName), keep: 1}
	var lines []line
	for i := range 10 {
		a := *goldenLines()[0].Artifact
		a.Version = i
		lines = append(lines, line{V: 1, Event: eventLanded, Artifact: &a}, line{V: 1, Event: eventRefused, Entry: "x"})
	}
	if err := m.compact(lines); err != nil {
		t.Fatal(err)
	}
	if kept, err := readLines(m.path); err != nil || len(kept) != 2 || kept[0].Version != 8 || kept[1].Version != 9 {
		t.Errorf("%v, %v", kept, err)
	}
}

// TestRewriteKeepsDoubts: what was not flushed when the host went down is still doubted after the manifest was written anew.
func TestRewriteKeepsDoubts(t *testing.T) {
	name := filepath.Join(t.TempDir(), manifestName)
	before := &manifest{path: name, keep: 1, clock: time.Now}
	if err := before.refresh(noFlush); err != nil {
		t.Fatal(err)
	}
	before.now = "an earlier boot"
	if err := before.append(goldenLines()...); err != nil {
		t.Fatal(err)
	}
	if n := before.suspects(); n != 2 {
		t.Errorf("%d are not flushed", n)
	}
	m := &manifest{path: name, keep: 1, clock: time.Now, now: "this boot"}
	if err := m.rewrite(noFlush); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]bool{"dir/report.txt": true, "My.app": true}, m.doubted); d != "" {
		t.Errorf("doubted (-want +got):\n%s", d)
	}
	if len(m.known) != 2 || m.suspects() != 0 {
		t.Errorf("%d are known, and %d not flushed", len(m.known), m.suspects())
	}
}

func FuzzManifest(f *testing.F) {
	golden, err := os.ReadFile("testdata/manifest.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add([]byte(`{"v":1,"event":"landed"}` + "\n" + `{"v":2,"event":"landed","name":"x"}` + "\nnull\n[]\n"))
	f.Add([]byte(`{"v":1,"event":"lost","Event":"seen","entry":"ü","size":-0,"bundle":true,"bundle":false,"mode":07}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for one := range bytes.Lines(text) {
			if plain, ok := readPlain(one); ok {
				var f fact
				if err := json.Unmarshal(one, &f); err != nil || f != plain {
					t.Fatalf("%q is\n%+v, and not\n%+v: %v", one, f, plain, err)
				}
			}
		}
		lines, err := parseLines(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		m := &manifest{}
		m.reset()
		for i, l := range lines {
			m.apply(l.fact(), int64(i))
		}
		// A line after whatever there was is read.
		more, err := parseLines(bytes.NewReader(append(append(text, '\n'), golden...)))
		if err != nil || len(more) != len(lines)+4 {
			t.Fatalf("%d lines, then %d: %v", len(lines), len(more), err)
		}
	})
}
