package search

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/guest/changes/ext4"
	"github.com/calmenu/calmenu/internal/guest/changes/tally"
)

// tree is a root with a home in it, and the inodes of what is said to have changed there.
type tree struct {
	t          *testing.T
	root, home string
	changed    []ext4.Inode
	most       uint32
}

func newTree(t *testing.T) *tree {
	root := t.TempDir()
	tr := &tree{t: t, root: root, home: filepath.Join(root, "home/me")}
	tr.dir("home/me")
	return tr
}

func (tr *tree) dir(name string) {
	tr.t.Helper()
	if err := os.MkdirAll(filepath.Join(tr.root, name), 0o755); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) file(name string, size int) {
	tr.t.Helper()
	tr.dir(filepath.Dir(name))
	if err := os.WriteFile(filepath.Join(tr.root, name), make([]byte, size), 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

// change says that a file or folder changed: with size, if that is not negative, and otherwise with its own.
func (tr *tree) change(name string, kind byte, size int64) {
	tr.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(tr.root, name), &st); err != nil {
		tr.t.Fatal(err)
	}
	if st.Ino > 1<<30 {
		tr.t.Skip("this file system's inodes have large numbers")
	}
	if size < 0 {
		size = st.Size
	}
	tr.most = max(tr.most, uint32(st.Ino))
	tr.changed = append(tr.changed, ext4.Inode{Number: uint32(st.Ino), Type: kind, Links: uint16(st.Nlink), Size: size})
}

// walk looks for the names.
func (tr *tree) walk(workers int) *walk {
	tr.t.Helper()
	open := func(dir string) (int, uint64) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			tr.t.Fatal(err)
		}
		tr.t.Cleanup(func() { _ = unix.Close(fd) })
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			tr.t.Fatal(err)
		}
		return fd, st.Ino
	}
	p := &place{homeDir: "/home/me"}
	p.rootFD, _ = open(tr.root)
	p.homeFD, p.homeInode = open(tr.home)
	l := &lister{ctx: tr.t.Context(), place: &place{homeDir: tr.home}, max: "9", script: `printf 'r%s\0' "$3"`}
	w := newWalk(p, ext4.NewChanged(tr.most, tr.changed), time.Now(), 3, 2, l)
	w.workers = workers
	w.run()
	return w
}

// TestWalk finds the names of all that changed, and counts each where it belongs.
func TestWalk(t *testing.T) {
	tr := newTree(t)
	for i := range 40 {
		tr.file(fmt.Sprintf("home/me/work/d%d/same", i), 1)
	}
	for name, size := range map[string]int{
		"home/me/work/d7/big": 9000, "home/me/work/d8/small": 3, "home/me/.cache/x": 5, "home/me/app/.git/logs/HEAD": 2,
		"home/me/.ssh/authorized_keys": 1, "etc/passwd": 4, "var/log/syslog": 6, "usr/lib/deep/er/lib.so": 8,
		"proc/never": 1, "run/never": 1, "home/you/file": 7,
	} {
		tr.file(name, size)
		tr.change(name, 'f', -1)
	}
	if err := os.Link(filepath.Join(tr.root, "etc/passwd"), filepath.Join(tr.home, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(tr.home, "link")); err != nil {
		t.Fatal(err)
	}
	tr.change("home/me/link", 'l', -1)
	tr.change("home/me", 'd', -1)
	tr.change("home/me/work", 'd', -1)
	tr.change("usr/lib", 'd', -1)
	for i, in := range tr.changed {
		if in.Size == 4 && in.Type == 'f' {
			tr.changed[i].Links = 2 // it was linked since
		}
	}
	w := tr.walk(workers)
	wantHome := tally.Home{
		Top: 3, Repos: 2,
		Yours: tally.Count{Files: 4, Folders: 2, Bytes: 9000 + 3 + 4 + 4}, Git: tally.Count{Files: 1, Bytes: 2},
		Caches:  tally.Count{Files: 2, Bytes: 6},
		Largest: []tally.File{{Path: "work/d7/big", Bytes: 9000}, {Path: "link", Bytes: 4}, {Path: "linked", Bytes: 4}},
		GitDirs: []string{"./app/.git"},
	}
	if d := cmp.Diff(wantHome, w.found); d != "" {
		t.Error(d)
	}
	wantSystem := tally.System{
		Found: tally.Count{Files: 3, Folders: 1, Bytes: 4 + 8 + 7}, Caches: tally.Count{Files: 1, Bytes: 6},
	}
	if d := cmp.Diff(wantSystem, w.system); d != "" {
		t.Error(d)
	}
	if n := w.left.Load(); n != 2 || w.missed.Load() { // those of proc and run
		t.Errorf("%d names not found, folders missed: %v", n, w.missed.Load())
	}
	if got := string(w.list.rest(w.found.GitDirs, 2)); got != "r./app/.git\x00" {
		t.Errorf("commits: %q", got)
	}
}

// TestWalkEnds when all names are found: the rest is not read. One worker reads, since of two the other may be quicker.
func TestWalkEnds(t *testing.T) {
	tr := newTree(t)
	tr.file("home/me/file", 1)
	tr.change("home/me/file", 'f', -1)
	tr.file("usr/locked/file", 1)
	if err := os.Chmod(filepath.Join(tr.root, "usr/locked"), 0); err != nil {
		t.Fatal(err)
	}
	w := tr.walk(1)
	if w.found.Yours.Files != 1 || w.left.Load() != 0 || w.missed.Load() {
		t.Errorf("%+v, %d not found, missed: %v", w.found.Yours, w.left.Load(), w.missed.Load())
	}
	if len(w.root.dirs) == 0 {
		t.Error("the root was searched, though everything had been found")
	}
}

// TestFreshSize asks for the size of a file that was written a moment ago, and of no other.
func TestFreshSize(t *testing.T) {
	tr := newTree(t)
	now := time.Now().Unix()
	for _, name := range []string{"fresh", "appended", "moved", "old"} {
		tr.file("home/me/"+name, 10)
	}
	for i, in := range []ext4.Inode{
		{Size: 0, Change: now, Write: 5}, {Size: 7, Change: now, Write: now}, {Size: 7, Change: now, Write: 5}, {Size: 7, Change: 5},
	} {
		tr.change("home/me/"+[]string{"fresh", "appended", "moved", "old"}[i], 'f', in.Size)
		tr.changed[i].Change, tr.changed[i].Write = in.Change, in.Write
	}
	w := tr.walk(workers)
	if want := int64(10 + 10 + 7 + 7); w.found.Yours.Bytes != want {
		t.Errorf("%d bytes, want %d", w.found.Yours.Bytes, want)
	}
}

func TestParseSince(t *testing.T) {
	for line, want := range map[string]time.Time{
		"1800000000.000000500 202701150800.00\n": time.Unix(1800000000, 500),
		"0.000000000\n":                          time.Unix(0, 0),
	} {
		if got, err := parseSince(line); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "\n", "1800000000\n", "x.000000000\n", "1.5 \n", "1.-00000001 \n"} {
		if got, err := parseSince(line); err == nil {
			t.Errorf("%q: %v", line, got)
		}
	}
}
