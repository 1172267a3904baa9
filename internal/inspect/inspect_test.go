package inspect

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// member is one of an archive that a test makes.
type member struct {
	name, content string
	mode          fs.FileMode
}

func zipOf(t testing.TB, members ...member) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name}
		if m.content != "" { // a compressor for each of many members takes its time
			h.Method = zip.Deflate
		}
		h.SetMode(m.mode | 0o644)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tarOf(t testing.TB, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Mode = max(h.Mode, 0o644)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipOf(t testing.TB, plain string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFile(t *testing.T) {
	for _, c := range []struct {
		what, name, content string
		want                []string
	}{
		{"text", "notes.txt", "hello", nil},
		{"empty", "empty", "", nil},
		{"picture", "a.png", "\x89PNG\r\n\x1a\n", nil},
		{"hidden file named as an extension", ".sh", "x", nil},
		{"script by name", "build.sh", "", []string{"is a script"}},
		{"script by name, trailing dot and space", "build.SH. ", "", []string{"is a script"}},
		{"script by content", "README", "#!/bin/sh\n", []string{"is a script"}},
		{"for Terminal", "Open me.command", "", []string{"runs in Terminal when it is opened"}},
		{"AppleScript", "x.scpt", "FasdUAS 1.101.10", []string{"is an AppleScript or a workflow, which opening runs"}},
		{"compiled AppleScript without its name", "x", "FasdUAS 1.101.10", []string{"is an AppleScript or a workflow, which opening runs"}},
		{"installer", "x.pkg", "xar!", []string{"is an installer"}},
		{"installer without its name", "x", "xar!", []string{"is an installer"}},
		{"launcher", "x.desktop", "[Desktop Entry]", []string{"is a launcher, which opening runs"}},
		{"Java", "x.jar", zipOf(t, member{name: "a.sh"}), []string{"is a Java program, which opening runs"}},
		{"Linux program", "tool", "\x7fELF\x02\x01", []string{"is a program for Linux"}},
		{"macOS program", "tool", "\xcf\xfa\xed\xfe\x0c\x00\x00\x01", []string{"is a program for macOS"}},
		{"universal program", "tool", "\xca\xfe\xba\xbe\x00\x00\x00\x02", []string{"is a program for macOS"}},
		{"Java class", "A.class", "\xca\xfe\xba\xbe\x00\x00\x00\x41", nil},
		{"Windows program", "tool", "MZ" + strings.Repeat("\x00", 80), []string{"is a program for Windows"}},
		{"archive of another kind", "x.7z", "7z\xbc\xaf\x27\x1c", []string{"is an archive of a kind that was not looked into"}},
		{"direnv", ".envrc", "x", []string{"runs when a shell with direnv enters its folder"}},

		{"zip of text", "a.zip", zipOf(t, member{name: "a.txt", content: "x"}), nil},
		{
			"zip with a script", "a.zip", zipOf(t, member{name: "dir/run.command"}),
			[]string{"holds dir/run.command, which runs in Terminal when it is opened"},
		},
		{
			"zip under another name", "notes.txt", zipOf(t, member{name: "run.sh"}),
			[]string{"holds run.sh, which is a script"},
		},
		{
			"zip that leads upwards", "a.zip", zipOf(t, member{name: "../../.bashrc"}, member{name: `..\x`}, member{name: "/etc/x"}),
			[]string{
				"holds ../../.bashrc, which would be unpacked outside of where it is unpacked",
				`holds ..\x, which would be unpacked outside of where it is unpacked`, "and 1 more like these",
			},
		},
		{
			"zip with links", "a.zip", zipOf(
				t, member{"in", "a/b", fs.ModeSymlink}, member{"d/up", "../x", fs.ModeSymlink}, member{"out", "../x", fs.ModeSymlink},
			),
			[]string{"holds out, which is a link to ../x"},
		},
		{
			"zip with a repository", "a.zip", zipOf(t, member{name: "x/.git/config"}),
			[]string{"holds x/.git/config, which is a Git repository, whose configuration and hooks run when git is used in it"},
		},
		{
			"zip with an application", "a.zip", zipOf(t, member{name: "A.app/Contents/MacOS/A"}),
			[]string{"holds A.app, which is an application without a signature"},
		},
		{
			"zip with a signed application", "a.zip", zipOf(
				t, member{name: "A.app/Contents/MacOS/A"}, member{name: "A.app/Contents/_CodeSignature/CodeResources"},
			), nil,
		},
		{
			"iOS archive", "a.ipa", zipOf(
				t, member{name: "Payload/A.app/A"}, member{name: "Payload/A.app/_CodeSignature/CodeResources"},
				member{name: "Payload/A.app/tool.sh"},
			), nil,
		},
		{
			"zip in an iOS archive", "a.ipa", zipOf(
				t, member{name: "Payload/x.zip", content: zipOf(t, member{name: "evil.command"}, member{name: "../up"})},
			),
			[]string{
				"holds Payload/x.zip/evil.command, which runs in Terminal when it is opened",
				"holds Payload/x.zip/../up, which would be unpacked outside of where it is unpacked",
			},
		},
		{
			"zip in zips, too deep", "a.zip",
			zipOf(t, member{name: "1.zip", content: zipOf(t, member{name: "2.zip", content: zipOf(t, member{name: "3.zip", content: zipOf(t)})})}),
			[]string{"could not be looked at completely"},
		},
		{"cut zip", "a.zip", zipOf(t, member{name: "a"})[:20], []string{"could not be looked at completely"}},
		{"not a zip", "a.zip", "hello", []string{"could not be looked at completely"}},

		{
			"tar", "a.tar", tarOf(t, tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 5}, tar.Header{Name: "b.sh", Typeflag: tar.TypeReg}),
			[]string{"holds b.sh, which is a script"},
		},
		{
			"tar.gz that reaches out", "a.tar.gz", gzipOf(t, tarOf(
				t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
				tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../x"},
				tar.Header{Name: "p", Typeflag: tar.TypeFifo},
				tar.Header{Name: "s", Typeflag: tar.TypeReg, Mode: 0o4755},
			)),
			[]string{"holds l, which is a link to /etc", "holds h, which is a hard link out of it", "and 2 more like these"},
		},
		{"gzipped script", "x.sh.gz", gzipOf(t, "#!/bin/sh"), []string{"holds x.sh, which is a script"}},
		{"gzipped text", "x.txt.gz", gzipOf(t, "hello"), nil},
		{"gzip of nothing", "x.gz", "\x1f\x8b", []string{"could not be looked at completely"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := File(c.name, strings.NewReader(c.content), int64(len(c.content)), Limits{Time: time.Hour})
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBundle(t *testing.T) {
	file := func(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content), Mode: 0o644} }
	for _, c := range []struct {
		what, name string
		tree       fstest.MapFS
		want       []string
	}{
		{"application", "A.app", fstest.MapFS{"Contents/MacOS/A": file("\xcf\xfa\xed\xfe")}, []string{"is an application without a signature"}},
		{"signed", "A.app", fstest.MapFS{"Contents/MacOS/A": file(""), "Contents/_CodeSignature/CodeResources": file("x")}, nil},
		{"iOS", "A.app", fstest.MapFS{"A": file(""), "_CodeSignature/CodeResources": file("x")}, nil},
		{
			"archive of Xcode", "A.xcarchive",
			fstest.MapFS{"Products/Applications/A.app/A": file("")},
			[]string{"holds Products/Applications/A.app, which is an application without a signature"},
		},
		{
			"results", "T.xcresult",
			fstest.MapFS{
				"Data/x.zip":   file(zipOf(t, member{name: "x.command"})),
				".git/config":  file("[core]\nfsmonitor=x"),
				"Data/fix.sh":  file(""),
				"Data/log.txt": file(""),
			},
			[]string{
				"holds .git, which is a Git repository, whose configuration and hooks run when git is used in it",
				"holds .git/config, which is a Git repository, whose configuration and hooks run when git is used in it",
				"holds Data/fix.sh, which is a script",
				"holds Data/x.zip/x.command, which runs in Terminal when it is opened",
			},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			if d := cmp.Diff(c.want, Bundle(c.name, c.tree, Limits{Time: time.Hour})); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestBombs looks at what would take the host's time or memory.
func TestBombs(t *testing.T) {
	many := make([]member, 3000)
	for i := range many {
		many[i].name = strings.Repeat("x", i%50+1) + string(rune('a'+i%26))
	}
	for _, c := range []struct {
		what, name, content string
		limits              Limits
	}{
		{"a gzip of nothing but zeroes, as a tar", "a.tar.gz", gzipOf(t, tarOf(t, tar.Header{Name: "x", Size: 8 << 20, Typeflag: tar.TypeReg})), Limits{Bytes: 1 << 20}},
		{"a zip's member of zeroes", "a.zip", zipOf(t, member{name: "x.zip", content: strings.Repeat("\x00", 9<<20)}), Limits{}},
		{"many members", "a.zip", zipOf(t, many...), Limits{Members: 1000}},
		{"no time", "a.zip", zipOf(t, many...), Limits{Time: time.Nanosecond}},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := File(c.name, strings.NewReader(c.content), int64(len(c.content)), c.limits)
			if len(got) == 0 || got[len(got)-1] != "could not be looked at completely" {
				t.Errorf("%q", got)
			}
		})
	}
}

// A zip whose table of members is larger than what is read into memory.
func TestZipWithAVastTable(t *testing.T) {
	members := make([]member, 25_000)
	for i := range members {
		members[i].name = strings.Repeat("long/", 40) + "x"
	}
	content := zipOf(t, members...)
	got := File("a.zip", strings.NewReader(content), int64(len(content)), Limits{Members: 1 << 30, Time: time.Hour})
	if d := cmp.Diff([]string{"could not be looked at completely"}, got); d != "" {
		t.Error(d)
	}
}

func TestWarningsAreBoundedAndPlain(t *testing.T) {
	var members []member
	for _, e := range []string{"sh", "command", "scpt", "pkg", "exe", "jar", "desktop", "url", "mobileconfig", "saver", "docm", "dmg"} {
		for range 5 {
			members = append(members, member{name: "\x1b[31m" + strings.Repeat("n", 300) + "\u202e." + e})
		}
	}
	content := zipOf(t, members...)
	got := File("a.zip", strings.NewReader(content), int64(len(content)), Limits{Time: time.Hour})
	if len(got) != maxWarnings+1 {
		t.Errorf("%d warnings", len(got))
	}
	checkWarnings(t, got)
}

func checkWarnings(t *testing.T, warnings []string) {
	t.Helper()
	if len(warnings) > maxWarnings+2 {
		t.Errorf("%d warnings", len(warnings))
	}
	for _, w := range warnings {
		if len(w) > 700 || strings.IndexFunc(w, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%q", w)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []struct{ name, content string }{
		{"a.zip", zipOf(f, member{name: "x.sh"}, member{"l", "../x", fs.ModeSymlink}, member{name: "i.zip", content: zipOf(f, member{name: "../a"})})},
		{"a.tar", tarOf(f, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "x.zip", Size: 3, Typeflag: tar.TypeReg})},
		{"a.tgz", gzipOf(f, tarOf(f, tar.Header{Name: "../x", Typeflag: tar.TypeReg}))},
		{"x.gz", gzipOf(f, "#!/bin/sh")},
		{"x", "\x7fELF"},
		{"a.bz2", "BZh91AY&SY"},
		{".envrc", ""},
		{"A.app", ""},
	} {
		f.Add(seed.name, []byte(seed.content))
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		l := Limits{Members: 200, Bytes: 1 << 20, Nested: 1 << 16, Time: time.Second}
		checkWarnings(t, File(name, bytes.NewReader(content), int64(len(content)), l))
	})
}
