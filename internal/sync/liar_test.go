package sync

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
)

// liar is a guest whose programs are its own: they print what the test says.
type liar map[string]func(w io.Writer) (int, error)

func (l liar) Stream(ctx context.Context, c guest.Cmd, stdout, _ io.Writer) (int, error) {
	if c.Stdin != nil {
		_, _ = io.Copy(io.Discard, c.Stdin)
	}
	// As guest.Client: the output of a program that is killed goes nowhere.
	return l[c.Argv[2]](writerFunc(func(b []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return stdout.Write(b)
	}))
}

const rootRecord = "h\x00/home/x\x00f\x00d\x004096\x001.0\x001.0\x001\x001\x002\x00755\x00\x00\x00"

func fileRecord(name string, size int) string {
	return fmt.Sprintf("f\x00f\x00%d\x001700000000.1234567890\x001700000000.0\x00%d\x001\x001\x00644\x00\x00%s\x00",
		size, 100+len(name), name)
}

func prints(s string) func(io.Writer) (int, error) {
	return func(w io.Writer) (int, error) {
		_, err := io.WriteString(w, s)
		return 0, err
	}
}

// archive is what a tar prints.
func archive(t *testing.T, headers ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := strings.Repeat("y", int(h.Size))
		if h.Typeflag != tar.TypeReg {
			h.Size, content = 0, ""
		}
		h.Mode = 0o7777
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestLyingPrograms has a guest whose find and tar are written by its worst enemy. Whatever they say: nothing lands but
// what was listed under a good name and handed over whole, nothing is written elsewhere, and the pass ends.
func TestLyingPrograms(t *testing.T) {
	reg := func(name string, size int64) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size}
	}
	odd := func(kind byte, target string) tar.Header {
		return tar.Header{Name: "./good", Typeflag: kind, Linkname: target}
	}
	good := archive(t, reg("./good", 4))
	endless := func(w io.Writer) (int, error) {
		for i := 0; ; i++ {
			if _, err := io.WriteString(w, fileRecord(fmt.Sprintf("f%d", i), 0)); err != nil {
				return -1, err
			}
		}
	}
	flood := func(w io.Writer) (int, error) {
		zeros := make([]byte, 64<<10)
		for {
			if _, err := w.Write(zeros); err != nil {
				return -1, err
			}
		}
	}
	list := func(records ...string) func(io.Writer) (int, error) {
		return prints(rootRecord + fileRecord("good", 4) + strings.Join(records, ""))
	}
	for _, c := range []struct {
		what      string
		find, tar func(io.Writer) (int, error)
		lands     bool
		err       string // part of the error; empty: none
	}{
		{"honest", list(), prints(good), true, ""},
		{"names that escape", list(fileRecord("../up", 4), fileRecord("/etc/cron.d/x", 4), fileRecord("a/../../up", 4),
			fileRecord("..", 4), fileRecord(".", 4), fileRecord("a//b", 4), fileRecord("a/", 4)), prints(good), true, ""},
		{"a file below a file", list(fileRecord("good/below", 4)), prints(good), true, ""},
		{"a file below nothing", list(fileRecord("none/below", 4)), prints(good), true, ""},
		{"a name twice", list(fileRecord("good", 4), fileRecord("good", 400)), prints(good), false, ""},
		{"sizes that overflow", list(fileRecord("huge", 1<<62), fileRecord("huger", 1<<62)), prints(good), true, ""},
		{"a negative size", list(fileRecord("minus", -1)), prints(good), false, "a file of -1 bytes"},
		{
			"a size that is none", list(strings.Replace(fileRecord("x", 4), "\x004\x00", "\x00four\x00", 1)),
			nil, false, "invalid syntax",
		},
		{"a kind that is none", list("x\x00"), nil, false, "unknown kind"},
		{"two outboxes", list(rootRecord), nil, false, "listed twice"},
		{"a listing that breaks off", list("f\x00f\x00"), nil, false, "in mid-air"},
		{"a field without end", flood, nil, false, "parsing the listing"},
		{"a field that is too long", list(fileRecord(strings.Repeat("x", 9<<10), 4)), nil, false, "more than 8192 bytes"},
		{"a listing without end", endless, prints(good), false, ""},
		{"no find", func(io.Writer) (int, error) { return 127, nil }, nil, false, "find exited with 127"},
		{"a lost connection", func(io.Writer) (int, error) { return -1, errors.New("lost") }, nil, false, "lost"},

		{"archive names that escape", list(), prints(archive(t,
			reg("../up", 4), reg("/abs", 4), reg("./../up", 4), reg("./good", 4))), true, ""},
		{"archive with what nobody asked for", list(), prints(archive(t, reg("./more", 4), reg("./good", 4))), true, ""},
		{"archive with a link", list(), prints(archive(t, odd(tar.TypeSymlink, "/etc/passwd"))), false, ""},
		{"archive with a link, then a file through it", list(), prints(archive(t,
			tar.Header{Name: "./x", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, reg("./x/good", 4), reg("./good", 4),
		)), true, ""},
		{"archive with a hard link", list(), prints(archive(t, odd(tar.TypeLink, "/etc/passwd"))), false, ""},
		{"archive with a device", list(), prints(archive(t, odd(tar.TypeChar, ""))), false, ""},
		{"archive with a directory", list(), prints(archive(t, odd(tar.TypeDir, ""))), false, ""},
		{"archive with a file twice", list(), prints(archive(t, reg("./good", 4), reg("./good", 4))), true, ""},
		{"archive with a file longer than listed", list(), prints(archive(t, reg("./good", 5))), false, ""},
		{"archive with a file shorter than listed", list(), prints(archive(t, reg("./good", 3))), false, ""},
		{"archive with nothing", list(), prints(archive(t)), false, ""},
		{"no archive", list(), prints(""), false, ""},
		{"archive that breaks off in a header", list(), prints(good[:100]), false, "unexpected EOF"},
		{"archive that breaks off in a file", list(), prints(good[:514]), false, "unexpected EOF"},
		{"archive of noise", list(), prints(strings.Repeat("noise", 1000)), false, "receiving from the outbox"},
		{"archive without end", list(), flood, false, "more than"},
		{"archive, then noise without end", list(), func(w io.Writer) (int, error) {
			_, _ = io.WriteString(w, good)
			return flood(w)
		}, false, "more than"},
		{"archive of a bomb", list(), prints(archive(t, reg("./bomb", 8<<20), reg("./good", 4))), false, "unexpected EOF"},
		{"no tar", list(), func(io.Writer) (int, error) { return 127, nil }, false, "tar exited with 127"},
		{"a connection lost in a file", list(), func(w io.Writer) (int, error) {
			_, _ = io.WriteString(w, good[:513])
			return -1, errors.New("lost")
		}, false, "lost"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			root := scratch(t)
			o := Options{Workspace: "demo", Dest: filepath.Join(root, "dest"), State: filepath.Join(root, "state")}
			r, err := Once(t.Context(), overTar(t, liar{"find": c.find, "tar": c.tar}, o), o, nil)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			want := ""
			if c.lands {
				want = "good"
			}
			if got := strings.Join(landed(r), " "); got != want {
				t.Errorf("landed %q, want %q; %+v", got, want, r)
			}
			entries, err := os.ReadDir(filepath.Join(root, "dest"))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if !c.lands || e.Name() != "good" {
					t.Errorf("on the host: %s", e.Name())
				}
			}
			if beside, err := os.ReadDir(root); err != nil || len(beside) != 2 {
				t.Errorf("beside it: %v, %v", beside, err)
			}
		})
	}
}
