package sync

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestWhatIsRecorded looks at what the manifest says of an artifact beside its content.
func TestWhatIsRecorded(t *testing.T) {
	b := newOutbox(t)
	asked := 0
	b.o.Origin = "ssh"
	b.o.Built = func(context.Context) Build {
		asked++
		return Build{Repository: "workspace/demo", Commit: "c0ffee"}
	}
	b.put("run.sh", "#!/bin/sh")
	b.put("Demo.app/Contents/Info.plist", "x")
	b.put("notes.txt", "x")
	b.once()
	list, err := ReadManifest(b.o.State)
	b.must(err)
	got := map[string][]string{}
	for _, a := range list {
		got[a.Name] = a.Warnings
		if a.Origin != "ssh" || a.Repository != "workspace/demo" || a.Commit != "c0ffee" {
			t.Errorf("%+v", a)
		}
	}
	want := map[string][]string{
		"run.sh": {"is a script"}, "Demo.app": {"is an application without a signature"}, "notes.txt": nil,
	}
	if d := cmp.Diff(want, got); d != "" || asked != 1 {
		t.Errorf("asked %d times: %s", asked, d)
	}
	b.once()
	if asked != 1 {
		t.Error("asked although nothing landed")
	}
}

func TestAdopt(t *testing.T) {
	b := newOutbox(t)
	b.put("Demo.app/Contents/x", "x")
	b.once()
	from := filepath.Join(filepath.Dir(b.o.State), "signed")
	b.must(os.MkdirAll(filepath.Join(from, "Demo.app", "Contents"), 0o755))
	b.must(os.WriteFile(filepath.Join(from, "Demo.app", "Contents", "program"), []byte("signed"), 0o755))
	b.must(os.Symlink("Contents/program", filepath.Join(from, "Demo.app", "link")))
	root, err := os.OpenRoot(from)
	b.must(err)
	defer root.Close()
	sign := func(a *Artifact) { a.Origin, a.SignedFrom = "sign", "abc" }
	a, err := Adopt(t.Context(), b.o, root, "Demo.app", "Demo-signed.app", sign)
	b.must(err)
	if a.Origin != "sign" || a.SignedFrom != "abc" || a.Version != 1 || !a.Bundle || a.Size != 6 {
		t.Errorf("%+v", a)
	}
	info, err := os.Stat(filepath.Join(a.Path, "link"))
	b.must(err)
	if info.Mode() != 0o755 {
		t.Error(info.Mode())
	}
	if bad, err := Verify(b.o); err != nil || len(bad) != 0 {
		t.Error(bad, err)
	}
	// The same again is no other version; another content is.
	if a, err = Adopt(t.Context(), b.o, root, "Demo.app", "Demo-signed.app", sign); err != nil || a.Version != 1 {
		t.Error(a.Version, err)
	}
	b.must(os.WriteFile(filepath.Join(from, "Demo.app", "Contents", "program"), []byte("again"), 0o755))
	if a, err = Adopt(t.Context(), b.o, root, "Demo.app", "Demo-signed.app", sign); err != nil || a.Version != 2 {
		t.Error(a.Version, err)
	}
	for _, as := range []string{"../x", ".versions/x", "a/../../b", ""} {
		if _, err := Adopt(t.Context(), b.o, root, "Demo.app", as, sign); err == nil {
			t.Errorf("landed as %q", as)
		}
	}
	b.o.Limits.MaxTotal = 8
	if _, err := Adopt(t.Context(), b.o, root, "Demo.app", "more.app", sign); err == nil || !strings.Contains(err.Error(), "8 bytes") {
		t.Error(err)
	}
	for _, n := range b.tree() {
		if strings.HasPrefix(n, stagingDir) {
			t.Errorf("left over: %s", n)
		}
	}
}

func TestPrune(t *testing.T) {
	b := newOutbox(t)
	for i := range 4 {
		for _, n := range []string{"a", "dir.7/b", "B.app/x"} {
			b.put(n, strings.Repeat(n, i+1))
		}
		b.once()
	}
	prune := func(p PruneOptions) string {
		t.Helper()
		gone, err := Prune(t.Context(), b.o, p)
		b.must(err)
		var lines []string
		for _, g := range gone {
			lines = append(lines, fmt.Sprintf("%s %d %d", g.Name, g.Version, g.Size))
		}
		return strings.Join(lines, ", ")
	}
	before := b.tree()
	want := "B.app 2 14, B.app 1 7, a 2 2, a 1 1, dir.7/b 2 14, dir.7/b 1 7"
	if got := prune(PruneOptions{Keep: 1, DryRun: true}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := prune(PruneOptions{Keep: -1, OlderThan: time.Hour}); got != "" {
		t.Errorf("%s is not that old", got)
	}
	if d := cmp.Diff(before, b.tree()); d != "" {
		t.Error(d)
	}
	if got := prune(PruneOptions{Keep: 1}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := prune(PruneOptions{Keep: -1, OlderThan: time.Nanosecond}); got != "B.app 3 21, a 3 3, dir.7/b 3 21" {
		t.Error(got)
	}
	if bad, err := Verify(b.o); err != nil || len(bad) != 0 {
		t.Error(bad, err)
	}
	// What landed after some are gone is kept under a number of its own.
	b.put("a", "more")
	b.once()
	if b.have(".versions/a.4") != "aaaa" || b.have("a") != "more" {
		t.Error(b.tree())
	}
}

func TestVersionNames(t *testing.T) {
	element := rapid.StringMatching(`[a-c]{1,2}(\.[0-9a-c]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		name := strings.Join(rapid.SliceOfN(element, 1, 4).Draw(t, "name"), "/")
		version := rapid.IntRange(1, 99).Draw(t, "version")
		got, n, ok := versionOf(versionName(name, version))
		if got != name || n != version || !ok {
			t.Errorf("%q %d becomes %q %d %v", name, version, got, n, ok)
		}
	})
}

func TestRefusalsAreRead(t *testing.T) {
	b := newOutbox(t)
	b.must(os.Symlink("/etc", filepath.Join(b.dir, "link")))
	b.once()
	list, err := ReadRefusals(b.o.State)
	b.must(err)
	if len(list) != 1 || list[0].Name != "link" || list[0].Reason != "is a symbolic link" || list[0].Time.IsZero() {
		t.Errorf("%+v", list)
	}
}
