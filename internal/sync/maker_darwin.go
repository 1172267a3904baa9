package sync

import (
	"errors"
	"os"
)

// maker makes small files in staging.
type maker struct {
	root  *os.Root
	agent string
}

func (m *maker) close() {}

// make makes a file whose name, directly in staging, is this program's own.
func (m *maker) make(s *small) error {
	f, err := m.root.OpenFile(s.item.at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(s.content)
	if err = errors.Join(err, f.Chmod(s.mode), quarantine(f, m.agent), f.Close()); err != nil {
		return err
	}
	return m.root.Chtimes(s.item.at, s.modTime, s.modTime)
}

// linkNew is not called: every file here has a name.
func linkNew(int, int, string) error { return errors.ErrUnsupported }
