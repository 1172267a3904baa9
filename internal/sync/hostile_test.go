package sync

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const canary = "the host's secret"

// corpus is what a hostile guest may put into its outbox, all at once, with the verdict on each.
var corpus = []struct {
	what   string
	name   string // as displayed
	reason string // beginning of the reason; empty: lands
	make   func(b *outbox, p string)
}{
	{"plain file", "plain", "", file},
	{"empty file", "empty", "", empty},
	{"name with spaces", " with  spaces ", "", file},
	{"name that looks like an option", "-rf", "", file},
	{"name that looks like two options", "--to-command=sh", "", file},
	{"name for a shell", "$(touch pwned);`id`", "", file},
	{"name with quotes", `it's "quoted"`, "", file},
	{"name with a pattern", "*", "", file},
	{"name with a question mark", "what?", "", file},
	{"name with brackets", "[a-z]", "", file},
	{"name with a backslash", `back\slash`, "", file},
	{"name with an escape sequence of tar", `tab\tnew\nline`, "", file},
	{"name with an octal escape", `\101`, "", file},
	{"name with a percent", "%s%n%d", "", file},
	{"name with a colon", "host:file", "", file},
	{"name with a tilde", "~root", "", file},
	{"name beginning with an at sign", "@LongLink", "", file},
	{"name of tar's own", "././@PaxHeader"[4:], "", file},
	{"hidden file", ".profile", "", file},
	{"three dots", "...", "", file},
	{"dots and a letter", "..a", "", file},
	{"long name, just so", strings.Repeat("n", 240), "", file},
	{"long path", strings.Repeat("deep/", 32) + "file", "", file},
	{"name longer than a tar header", "dir/" + strings.Repeat("x", 120), "", file},
	{"emoji with a joiner", "👩\u200d💻", "", file},
	{"accents", "café", "", file},
	{"Arabic", "ملف", "", file},
	{"Chinese", "文件", "", file},
	{"directory named as an extension of a bundle", ".app/x", "", file},
	{"file named as a bundle", "file.app", "", file},
	{"bundle", "Good.app", "", bundle},
	{"hard links that are both in the outbox", "twin1", "", twins},
	{"a time before all times", "old", "", aged(-1 << 31)},
	{"a time after all times", "future", "", aged(1 << 33)},
	{"world-writable setuid", "setuid", "", setuid},
	{"sparse file within the limits", "sparse", "", sparse(1 << 20)},

	{"link to a secret of the host", "link-absolute", "is a symbolic link", link("{canary}")},
	{"link upwards", "link-up", "is a symbolic link", link("../../canary")},
	{"link within the outbox", "link-within", "is a symbolic link", link("plain")},
	{"link to a directory", "link-dir", "is a symbolic link", link("/")},
	{"link to itself", "link-loop", "is a symbolic link", link("link-loop")},
	{"link to nowhere", "link-broken", "is a symbolic link", link("nowhere")},
	{"link named as a bundle", "Link.app", "is a symbolic link", link("/")},
	{"hard link to a file elsewhere", "hard", "is a hard link", hardlink},
	{"FIFO", "fifo", "is a FIFO", fifo},
	{"socket", "socket", "is a socket", socket},
	{"device", "device", "is a device", device},
	{"newline", `new\nline`, "name has the control character U+000A", raw("new\nline")},
	{"carriage return", `Icon\r`, "name has the control character U+000D", raw("Icon\r")},
	{"escape sequence", `\x1b[31mred`, "name has the control character U+001B", raw("\x1b[31mred")},
	{"delete", `\x7f`, "name has the control character U+007F", raw("\x7f")},
	{"C1 control", `\u009b`, "name has the control character U+009B", raw("\u009b")},
	{"right-to-left override", `bill\u202efdp.sh`, "name has the control character U+202E", raw("bill\u202efdp.sh")},
	{"isolate", `a\u2066b`, "name has the control character U+2066", raw("a\u2066b")},
	{"mark", `a\u200fb`, "name has the control character U+200F", raw("a\u200fb")},
	{"zero-width space", `a\u200bb`, "name has the control character U+200B", raw("a\u200bb")},
	{"byte order mark", `\ufeffa`, "name has the control character U+FEFF", raw("\ufeffa")},
	{"line separator", `a\u2028b`, "name has the control character U+2028", raw("a\u2028b")},
	{"tag", `a\U000e0041`, "name has the control character U+E0041", raw("a\U000e0041")},
	{"noncharacter", `a\uffff`, "name has the control character U+FFFF", raw("a\uffff")},
	{"invalid UTF-8", `\xff\xfe`, "name is not valid UTF-8", raw("\xff\xfe")},
	{"overlong UTF-8", `\xc0\xaf`, "name is not valid UTF-8", raw("\xc0\xaf")},
	{"surrogate", `\xed\xa0\x80`, "name is not valid UTF-8", raw("\xed\xa0\x80")},
	{"cut UTF-8", `caf\xc3`, "name is not valid UTF-8", raw("caf\xc3")},
	{"long name", strings.Repeat("o", 200) + "...", "name has an element longer", raw(strings.Repeat("o", 241))},
	{"our staging", ".cal-staging", "name is reserved", in(".cal-staging", "x")},
	{"our versions", ".versions", "name is reserved", in(".versions", "plain.1")},
	{"our versions by case", ".VERSIONS", "name is reserved", in(".VERSIONS", "plain.1")},
	{"our versions by an ignored character", `.ver\u200csions`, "name is reserved", in(".ver\u200csions", "x")},
	{"our namespace", ".cal", "name is reserved", raw(".cal")},
	{"clash by case", "clash/readme", "differs from clash/README only", pair("clash/README", "clash/readme")},
	{"clash by case of a directory", "updown/dir", "differs from updown/DIR only", pair("updown/DIR/a", "updown/dir/b")},
	{"clash by normalisation", "nf/\u00e9", "differs from nf/e\u0301 only", pair("nf/e\u0301", "nf/\u00e9")},
	{"clash by folding", "fold/straße", "differs from fold/strasse only", pair("fold/strasse", "fold/straße")},
	{"clash by a compatibility letter", "kelvin/\u212a", "differs from kelvin/K only", pair("kelvin/K", "kelvin/\u212a")},
	{"bad member of a bundle", "Bad.app", "holds Bad.app/x/pipe: is a FIFO", badBundle},
	{"too deep", strings.TrimSuffix(strings.Repeat("u/", 34), "/"), "lies below more than 32", deep(40)},
	{"too large", "large", "is larger than 2.0 MB", sparse(3 << 20)},
	{"endless", "endless", "is larger than 2.0 MB", sparse(1 << 40)},
	{"path too long", strings.Repeat("w", 200) + "...", "name is longer than 800 bytes", wide},
}

func file(b *outbox, p string)  { b.must(os.WriteFile(p, []byte("x"), 0o644)) }
func empty(b *outbox, p string) { b.must(os.WriteFile(p, nil, 0o644)) }

func raw(name string) func(*outbox, string) { return in(".", name) }

func in(dir, name string) func(*outbox, string) {
	return func(b *outbox, _ string) {
		b.must(os.MkdirAll(filepath.Join(b.dir, dir), 0o755))
		file(b, filepath.Join(b.dir, dir, name))
	}
}

func pair(names ...string) func(*outbox, string) {
	return func(b *outbox, _ string) {
		for _, n := range names {
			b.put(n, n)
		}
		entries, err := os.ReadDir(filepath.Join(b.dir, filepath.Dir(names[1])))
		b.must(err)
		if len(entries) == 0 {
			b.Fatal("the file system of the test takes no such names")
		}
	}
}

func link(target string) func(*outbox, string) {
	return func(b *outbox, p string) {
		b.must(os.Symlink(strings.ReplaceAll(target, "{canary}", filepath.Join(filepath.Dir(b.o.State), "canary")), p))
	}
}

func hardlink(b *outbox, p string) {
	elsewhere := filepath.Join(b.guest.home, "elsewhere")
	file(b, elsewhere)
	b.must(os.Link(elsewhere, p))
}

func twins(b *outbox, p string) {
	file(b, p)
	b.must(os.Link(p, filepath.Join(b.dir, "twin2")))
}

func fifo(b *outbox, p string) { b.must(syscall.Mkfifo(p, 0o644)) }

func socket(b *outbox, p string) { b.must(syscall.Mknod(p, syscall.S_IFSOCK|0o644, 0)) }

func device(b *outbox, p string) {
	if err := syscall.Mknod(p, syscall.S_IFCHR|0o644, 1<<8|5); err != nil {
		b.Skipf("making a device needs root: %v", err)
	}
}

func bundle(b *outbox, p string) {
	b.must(os.MkdirAll(p, 0o755))
	file(b, filepath.Join(p, "x"))
}

func badBundle(b *outbox, p string) {
	bundle(b, p)
	b.must(os.Mkdir(filepath.Join(p, "a"), 0o755))
	b.must(os.Remove(filepath.Join(p, "x")))
	b.must(os.Mkdir(filepath.Join(p, "x"), 0o755))
	fifo(b, filepath.Join(p, "x", "pipe"))
	file(b, filepath.Join(p, "z"))
}

func aged(sec int64) func(*outbox, string) {
	return func(b *outbox, p string) {
		file(b, p)
		ts := []syscall.Timespec{{Sec: sec}, {Sec: sec}}
		b.must(syscall.UtimesNano(p, ts))
	}
}

func setuid(b *outbox, p string) {
	file(b, p)
	b.must(os.Chmod(p, 0o777|os.ModeSetuid|os.ModeSetgid))
}

func sparse(size int64) func(*outbox, string) {
	return func(b *outbox, p string) {
		file(b, p)
		b.must(os.Truncate(p, size))
	}
}

func deep(n int) func(*outbox, string) {
	return func(b *outbox, _ string) {
		d := filepath.Join(b.dir, strings.Repeat("u/", n))
		b.must(os.MkdirAll(d, 0o755))
		file(b, filepath.Join(d, "bottom"))
	}
}

func wide(b *outbox, _ string) {
	d := filepath.Join(b.dir, strings.Repeat(strings.Repeat("w", 200)+"/", 4))
	b.must(os.MkdirAll(d, 0o755))
	file(b, filepath.Join(d, "x"))
}

func TestHostileCorpus(t *testing.T) {
	t.Parallel()
	b := newOutbox(t)
	testCorpus(t, b, b.once)
}

// testCorpus has all of the corpus in an outbox, makes a pass, and looks at the verdicts.
func testCorpus(t *testing.T, b *outbox, pass func() Report) {
	b.o.Limits.MaxFile = 2e6
	secret := filepath.Join(filepath.Dir(b.o.State), "canary")
	b.must(os.WriteFile(secret, []byte(canary), 0o600))
	before, err := os.Stat(secret)
	b.must(err)
	skipped := map[string]bool{}
	for _, c := range corpus {
		ok := t.Run("make "+c.what, func(t *testing.T) {
			defer func() { skipped[c.what] = t.Skipped() }()
			b := *b
			b.TB = t
			p := filepath.Join(b.dir, c.name)
			if c.reason == "" {
				b.must(os.MkdirAll(filepath.Dir(p), 0o755))
			}
			c.make(&b, p)
		})
		if !ok {
			return
		}
	}
	r := pass()
	reasons, arrived := map[string]string{}, map[string]bool{}
	for _, x := range r.Refused {
		if reasons[x.Name] != "" {
			t.Errorf("%s is refused twice: %s; %s", x.Name, reasons[x.Name], x.Reason)
		}
		reasons[x.Name] = x.Reason
	}
	for _, a := range r.Landed {
		arrived[a.Name] = true
	}
	for _, c := range corpus {
		t.Run(c.what, func(t *testing.T) {
			switch reason := reasons[c.name]; {
			case skipped[c.what]:
				t.Skip("could not be made")
			case c.reason == "" && (reason != "" || !arrived[c.name]):
				t.Errorf("%q does not land: %s", c.name, reason)
			case c.reason != "" && (reason == "" || !strings.HasPrefix(reason, c.reason)):
				t.Errorf("%q: reason %q, want %q", c.name, reason, c.reason)
			}
			delete(reasons, c.name)
		})
	}
	if len(reasons) != 0 {
		t.Errorf("refused beyond the corpus: %v", reasons)
	}
	b.checkHost(secret, before)
	if r := pass(); len(r.Landed) != 0 || r.Waiting != 0 {
		t.Errorf("a second pass lands %v, %d wait", landed(r), r.Waiting)
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

func TestTheOutboxItselfIsALink(t *testing.T) {
	b := newOutbox(t)
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

func TestLinksOfTheHostAreNotFollowed(t *testing.T) {
	b := newOutbox(t)
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
