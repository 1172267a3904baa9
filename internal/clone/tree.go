package clone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Limits bound what Tree copies.
type Limits struct {
	Files int // files, directories and links
	Bytes int64
	// Durable has each file written out to the disk.
	Durable bool
}

// Copied is what Tree has copied.
type Copied struct {
	Files int
	Bytes int64
}

// Tree copies a file, or a directory with all that is in it, to a name of another directory that is not there yet. Links
// in a directory are copied as they are and never followed; anything but files, directories and links is an error. Files
// keep their permission bits and no others.
func Tree(from *os.Root, name string, to *os.Root, at string, l Limits) (Copied, error) {
	var c Copied
	err := fs.WalkDir(from.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := path.Join(at, strings.TrimPrefix(p, name))
		if c.Files++; c.Files > l.Files {
			return fmt.Errorf("it has more than %d files", l.Files)
		}
		switch {
		case d.IsDir():
			return to.Mkdir(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0 && p != name:
			leads, err := from.Readlink(p)
			if err != nil {
				return err
			}
			return to.Symlink(leads, target)
		case !d.Type().IsRegular():
			return fmt.Errorf("%q is no file", p)
		}
		n, err := regular(from, p, to, target, l.Durable)
		if c.Bytes += n; err == nil && c.Bytes > l.Bytes {
			err = fmt.Errorf("it has more than %d bytes", l.Bytes)
		}
		return err
	})
	return c, err
}

func regular(from *os.Root, name string, to *os.Root, at string, durable bool) (int64, error) {
	f, err := from.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(err, fs.ErrInvalid)
	}
	copied, _, err := File(f, to, at, 0o600|info.Mode().Perm()&0o755)
	if err != nil {
		return 0, err
	}
	if durable {
		err = copied.Sync()
	}
	return info.Size(), errors.Join(err, copied.Close())
}
