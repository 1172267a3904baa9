package sync

import (
	"errors"
	"fmt"

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
