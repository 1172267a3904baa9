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
	if err = blocks(from, to); err == nil {
		return to, true, nil
	}
	// io.Copy has the kernel do it where that can (copy_file_range).
	if _, err = from.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(to, from)
	}
	if err != nil {
		_ = to.Close()
		_ = dir.Remove(name)
		return nil, false, err
	}
	return to, false, nil
}
