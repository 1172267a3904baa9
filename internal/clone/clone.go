// Package clone copies a file's content into a new file, sharing its blocks where the file system can: the copy takes no
// time and no space then, and is another inode all the same.
package clone

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// File copies an open regular file to a new file below a directory, which must not be there yet, and returns it open
// for reading and writing. It reports whether the file system shares the blocks. What of the source changes meanwhile is
// for the caller to find out; what has been cloned does not change any more.
func File(from *os.File, dir *os.Root, name string, mode os.FileMode) (to *os.File, shared bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copying to %s: %w", path.Base(name), err)
		}
	}()
	if to, err = whole(from, dir, name, mode); err == nil {
		return to, true, nil
	} else if !errors.Is(err, errors.ErrUnsupported) {
		return nil, false, err
	}
	to, err = dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, false, err
	}
	info, err := from.Stat()
	if err == nil {
		shared, err = Into(to, from, info.Size())
	}
	if err != nil {
		_ = to.Close()
		_ = dir.Remove(name)
		return nil, false, err
	}
	return to, shared, nil
}

// Into makes an open, empty file hold the first size bytes of another, with its holes. It reports whether the file system
// shares the blocks; then all that the other has is there, also beyond size.
func Into(to, from *os.File, size int64) (shared bool, err error) {
	if err := blocks(from, to); err == nil {
		return true, nil
	}
	for at := int64(0); at < size; {
		start, end, err := nextData(from, at, size)
		if err != nil {
			return false, err
		}
		if start >= size {
			break
		}
		if _, err := from.Seek(start, io.SeekStart); err != nil {
			return false, err
		}
		if _, err := to.Seek(start, io.SeekStart); err != nil {
			return false, err
		}
		// CopyN has the kernel do it where that can (copy_file_range).
		if _, err := io.CopyN(to, from, end-start); err != nil {
			if errors.Is(err, io.EOF) { // it has become shorter
				return false, nil
			}
			return false, err
		}
		at = end
	}
	return false, to.Truncate(size)
}
