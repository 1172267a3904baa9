package sync

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// makers are the ways a file system has files made.
var makers = []struct {
	name string
	make func(*maker, *small) error
}{
	{"named", func(m *maker, s *small) error {
		if m.dir == nil {
			if err := m.open(); err != nil {
				return err
			}
		}
		defer func(nameless bool) { m.nameless = nameless }(m.nameless)
		m.nameless = false
		return m.make(s)
	}},
	{"nameless", func(m *maker, s *small) error {
		if !m.nameless {
			return errors.New("the file system of the tests has no such files")
		}
		if err := m.make(s); err != nil {
			return err
		}
		defer s.item.drop()
		if err := linkNew(s.item.fd, m.fd, s.item.at); err != nil {
			return err
		}
		if err := linkNew(s.item.fd, m.fd, s.item.at); !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("a name is given twice: %w", err)
		}
		return nil
	}},
}

// TestMakerMovesAway makes inodes elsewhere where they take long, as often as that is so, within bounds; and not for a few that do.
func TestMakerMovesAway(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	m := maker{root: root}
	if err := m.open(); err != nil {
		t.Fatal(err)
	}
	defer m.close()
	some := func(slow, fast int) {
		for range slow {
			m.moveAway(2 * slowInode)
		}
		for range fast {
			m.moveAway(slowInode / 10)
		}
	}
	if some(tryInodes/3, 10*tryInodes); m.moved != 0 || m.apart != m.fd {
		t.Errorf("moved %d times for a few that took long", m.moved)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(m.fd, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type != unix.EXT4_SUPER_MAGIC {
		if some(10*tryInodes, 0); m.apart != m.fd {
			t.Error("moved on a file system that is not ext4")
		}
		t.Skip("the file system of the tests is not ext4")
	}
	if some(tryInodes, 0); m.moved != 1 || m.apart == m.fd {
		t.Errorf("moved %d times after %d that took long", m.moved, tryInodes)
	}
	if flags, err := unix.IoctlGetInt(m.fd, unix.FS_IOC_GETFLAGS); err != nil || flags&topDir == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	if some(2*maxMoves*tryInodes, 0); m.moved != maxMoves {
		t.Errorf("moved %d times", m.moved)
	}
	it := &staged{at: "a"}
	if err := m.make(&small{item: it, content: []byte("content"), mode: 0o644, modTime: time.Now()}); err != nil {
		t.Fatal(err)
	}
	defer it.drop()
	if m.nameless {
		if err := linkNew(it.fd, m.fd, "a"); err != nil {
			t.Errorf("an inode from elsewhere: %v", err)
		}
	}
}
