package seedfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Put puts a file or directory below root. A directory that exists keeps its owner and mode, unless f has others than
// what a parent nobody named has (root, 0755). A file is replaced, never written through a link.
func Put(root string, f File) error {
	to := filepath.Join(root, f.Path)
	if f.Mode.IsDir() {
		return putDir(to, f)
	}
	return putFile(to, f)
}

func putDir(to string, f File) error {
	existing, err := os.Lstat(to)
	switch {
	case err == nil && existing.IsDir():
		if f.Mode.Perm() == 0o755 && f.UID == 0 {
			return nil
		}
	case err == nil && existing.Mode()&fs.ModeSymlink != 0:
		// The guest made a link of it. Following it would write elsewhere; a link is nothing to keep in a seeded path.
		if err := os.Remove(to); err != nil {
			return err
		}
		fallthrough
	default:
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
	}
	return own(to, f)
}

func putFile(to string, f File) error {
	existing, err := os.Lstat(to)
	switch {
	case err == nil:
		if same(existing, f) {
			if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, f.Data) {
				return nil
			}
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.WriteFile(to, f.Data, 0o600); err != nil {
		return err
	}
	return own(to, f)
}

// same tells whether a file that is there has the kind, mode and owner it is to have.
func same(existing fs.FileInfo, f File) bool {
	st, ok := existing.Sys().(*syscall.Stat_t)
	return ok && existing.Mode() == f.Mode.Perm() && st.Uid == uint32(f.UID) && st.Gid == uint32(f.GID)
}

func own(to string, f File) error {
	if err := os.Chown(to, f.UID, f.GID); err != nil {
		return err
	}
	return syscall.Chmod(to, uint32(f.Mode.Perm()))
}
