package sync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/sync/corpus"
)

const canary = "the host's secret"

// TestHostileCorpus goes through the table of what a hostile guest may have, all at once.
func TestHostileCorpus(t *testing.T) {
	overEach(t, func(t *testing.T, b *outbox) { testCorpus(t, b, b.once) })
}

// testCorpus has all of the corpus in an outbox, makes a pass, and looks at the verdicts.
func testCorpus(t *testing.T, b *outbox, pass func() Report) {
	b.o.Limits.MaxFile = corpus.MaxFile
	secret := filepath.Join(filepath.Dir(b.o.State), "canary")
	b.must(os.WriteFile(secret, []byte(canary), 0o600))
	before, err := os.Stat(secret)
	b.must(err)
	place := corpus.Place{Outbox: b.dir, Elsewhere: filepath.Join(b.guest.home, "elsewhere"), Secret: secret}
	b.must(os.WriteFile(place.Elsewhere, []byte("x"), 0o644))
	missing := map[string]bool{}
	for _, c := range corpus.Cases() {
		if err := c.Build(place); errors.Is(err, fs.ErrPermission) {
			missing[c.What] = true // a device needs root
		} else {
			b.must(err)
		}
	}
	verdicts(t, pass(), missing)
	b.checkHost(secret, before)
	if r := pass(); len(r.Landed) != 0 || r.Waiting != 0 {
		t.Errorf("a second pass lands %v, %d wait", landed(r), r.Waiting)
	}
}

// verdicts compares a report on all cases with the verdicts of the table. missing are those that could not be made.
func verdicts(t *testing.T, r Report, missing map[string]bool) {
	t.Helper()
	reasons := map[string]string{}
	for _, x := range r.Refused {
		if reasons[x.Name] != "" {
			t.Errorf("%s is refused twice: %s; %s", x.Name, reasons[x.Name], x.Reason)
		}
		reasons[x.Name] = x.Reason
	}
	for _, wrong := range corpus.Judge(corpus.Cases(), missing, landed(r), reasons, Shown) {
		t.Error(wrong)
	}
}

// checkHost looks for what must never be on the host: anything but plain files and directories, privileges, the secret.
func (b *outbox) checkHost(secret string, before fs.FileInfo) {
	b.Helper()
	now, err := os.Stat(secret)
	b.must(err)
	if content, err := os.ReadFile(secret); err != nil || string(content) != canary || !os.SameFile(now, before) ||
		!now.ModTime().Equal(before.ModTime()) {
		b.Errorf("the canary was touched: %q %v", content, err)
	}
	b.must(filepath.WalkDir(b.o.Dest, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch m := info.Mode(); {
		case m&fs.ModeSymlink != 0 && bundleOf(filepath.ToSlash(strings.TrimPrefix(p, b.o.Dest+"/"))) != "":
			b.staysInside(p)
		case m.IsRegular() && m != 0o644, m.IsDir() && m != fs.ModeDir|0o755, !m.IsRegular() && !m.IsDir():
			b.Errorf("%s is %v", p, m)
		case m.IsRegular():
			content, err := os.ReadFile(p)
			b.must(err)
			if strings.Contains(string(content), canary) {
				b.Errorf("%s holds the secret", p)
			}
		}
		return nil
	}))
	outside, err := os.ReadDir(filepath.Dir(b.o.Dest))
	b.must(err)
	if len(outside) != 1 {
		b.Errorf("something was written beside the destination: %v", outside)
	}
}

// staysInside has the host's own kernel say where a link in a bundle leads.
func (b *outbox) staysInside(p string) {
	b.Helper()
	bundle := filepath.Join(b.o.Dest, bundleOf(strings.TrimPrefix(p, b.o.Dest+"/")))
	to, err := filepath.EvalSymlinks(p)
	if err != nil || to != bundle && !strings.HasPrefix(to, bundle+"/") {
		b.Errorf("%s leads to %s, %v", p, to, err)
	}
}

func TestTheOutboxItselfIsALink(t *testing.T) { overEach(t, testTheOutboxItselfIsALink) }

func testTheOutboxItselfIsALink(t *testing.T, b *outbox) {
	b.must(os.Remove(b.dir))
	b.must(os.Symlink("/etc", b.dir))
	r := b.once()
	if d := cmp.Diff([]Refusal{{"output", "the outbox itself is a symbolic link, not a directory"}}, r.Refused); d != "" {
		t.Error(d)
	}
	if len(r.Landed) != 0 {
		t.Error(landed(r))
	}
	b.must(os.Remove(b.dir))
	b.put("../output", "a file")
	if r := b.once(); len(r.Refused) != 1 || len(r.Landed) != 0 {
		t.Errorf("%+v", r)
	}
	b.must(os.Remove(b.dir))
	if r := b.once(); len(r.Refused) != 0 || len(r.Landed) != 0 {
		t.Errorf("no outbox: %+v", r)
	}
}

func TestLinksOfTheHostAreNotFollowed(t *testing.T) { overEach(t, testLinksOfTheHostAreNotFollowed) }

func testLinksOfTheHostAreNotFollowed(t *testing.T, b *outbox) {
	outside := filepath.Join(filepath.Dir(b.o.State), "outside")
	b.must(os.MkdirAll(outside, 0o755))
	b.must(os.MkdirAll(filepath.Join(b.o.Dest, "inside"), 0o755))
	for name, target := range map[string]string{
		"out": outside, "in": "inside", "file": filepath.Join(outside, "target"), ".versions": outside,
		".cal-staging": outside,
	} {
		b.must(os.Symlink(target, filepath.Join(b.o.Dest, name)))
	}
	for _, n := range []string{"out/x", "in/x", "file", "good"} {
		b.put(n, n)
	}
	r := b.once()
	if d := cmp.Diff([]Refusal{
		{"file", ".versions on the host is a symbolic link, which is not followed"},
		{"in/x", "in on the host is a symbolic link, which is not followed"},
		{"out/x", "out on the host is a symbolic link, which is not followed"},
	}, r.Refused); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"good"}, landed(r)); d != "" {
		t.Error(d)
	}
	for _, d := range []string{outside, filepath.Join(b.o.Dest, "inside")} {
		if entries, err := os.ReadDir(d); err != nil || len(entries) != 0 {
			t.Errorf("%s has %v, %v", d, entries, err)
		}
	}
	// With the links out of the way, or set aside, everything lands.
	for _, n := range []string{"out", "in", ".versions"} {
		b.must(os.Remove(filepath.Join(b.o.Dest, n)))
	}
	if r := b.once(); len(r.Refused) != 0 || len(r.Landed) != 3 {
		t.Errorf("%+v", r)
	}
	target, err := os.Readlink(filepath.Join(b.o.Dest, ".versions/file.1"))
	if err != nil || filepath.Base(target) != "target" {
		t.Error(target, err)
	}
}
