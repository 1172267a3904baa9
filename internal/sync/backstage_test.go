package sync

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBackstageBreaks has a file that cannot be made, or a batch that cannot be landed: nothing after it is, and whoever
// hands on the next step is told.
func TestBackstageBreaks(t *testing.T) {
	no := errors.New("no")
	for _, at := range []string{"make", "land"} {
		t.Run(at, func(t *testing.T) {
			made, landed := 0, 0
			b := backstage{
				make: func(*small) error {
					if made++; at == "make" && made == 2 {
						return no
					}
					return nil
				},
				land: func([]*staged) error {
					if landed++; at == "land" {
						return no
					}
					return nil
				},
			}
			var err error
			for range 10 * smallWait {
				if err = errors.Join(b.add(step{file: &small{}}), b.add(step{batch: []*staged{{}}})); err != nil {
					break
				}
			}
			if err = errors.Join(err, b.wait()); !errors.Is(err, no) {
				t.Error(err)
			}
			if landed != 1 || at == "make" && made != 2 {
				t.Errorf("%d made, %d landed", made, landed)
			}
			if err := b.add(step{file: &small{}}); !errors.Is(err, no) {
				t.Error(err)
			}
		})
	}
}

// TestMaker makes a file as it is to be, whatever the file system can.
func TestMaker(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	m := maker{root: root}
	defer m.close()
	for i, how := range makers {
		for _, mode := range []os.FileMode{0o644, 0o755, 0o666} {
			it := &staged{at: how.name + mode.String()}
			if err := how.make(&m, &small{item: it, content: []byte("content"), mode: mode, modTime: when}); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(dir, it.at)
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(name); err != nil || string(text) != "content" {
				t.Error(i, string(text), err)
			}
			if info.Mode() != mode || !info.ModTime().Equal(when) {
				t.Error(how.name, info.Mode(), info.ModTime())
			}
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3*len(makers) {
		t.Error(left, err)
	}
}

// TestLater opens a transport when it is needed, and again if that failed.
func TestLater(t *testing.T) {
	b := newOutbox(t)
	b.put("a", "x")
	no := errors.New("no way in")
	tries := 0
	l := Later(func(context.Context) (Transport, error) {
		if tries++; tries == 1 {
			return nil, no
		}
		return overTar(t, b.guest, b.o), nil
	})
	if _, err := Once(t.Context(), l, b.o, nil); !errors.Is(err, no) {
		t.Error(err)
	}
	r, err := Once(t.Context(), l, b.o, nil)
	if err != nil || len(r.Landed) != 1 || tries != 2 {
		t.Error(r, err, tries)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestSmallAndLarge lands files on both sides of what is received in memory, then others over them.
func TestSmallAndLarge(t *testing.T) {
	b := newOutbox(t)
	sizes := []int{0, 1, smallFile - 1, smallFile, smallFile + 1, 3 * smallFile}
	for _, letter := range []string{"a", "b"} {
		for _, size := range sizes {
			b.put(strconv.Itoa(size), strings.Repeat(letter, size))
		}
		if r := b.once(); len(r.Refused) > 0 || r.Waiting > 0 {
			t.Errorf("%+v", r)
		}
		for _, size := range sizes {
			if got := b.have(strconv.Itoa(size)); got != strings.Repeat(letter, size) {
				t.Errorf("%d bytes: %d have landed", size, len(got))
			}
		}
	}
	if bad, err := Verify(b.o); err != nil || len(bad) > 0 {
		t.Error(bad, err)
	}
	if left, err := filepath.Glob(filepath.Join(b.o.Dest, stagingDir, "*")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// TestManyFilesAtOnce begins more small files than are received in memory. They land all the same.
func TestManyFilesAtOnce(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	items := make([]Item, 3*smallMost)
	for i := range items {
		e := Entry{Name: strconv.Itoa(i), Kind: 'f', Size: 1}
		items[i] = Item{Name: e.Name, Files: []Entry{e}, Size: 1}
	}
	landed := 0
	s := newStaging(t.Context(), root, Options{}, items, func(string, int64, bool) {}, func(batch []*staged) error {
		landed += len(batch)
		return nil
	})
	defer s.close()
	begun := make([]*Staged, len(items))
	inMemory := 0
	for i := range items {
		if begun[i], err = s.Create(i, 0); err != nil {
			t.Fatal(err)
		}
		if begun[i].f == nil {
			inMemory++
		}
	}
	for i, f := range begun {
		_, err := f.Write([]byte{'x'})
		if err = errors.Join(err, f.Done(), s.Whole(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.flush(); err != nil || landed != len(items) || inMemory != smallMost {
		t.Errorf("%v: %d landed, %d of them by memory", err, landed, inMemory)
	}
}
