package clone

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// nextData returns the first stretch of a file at or after pos that is no hole; size, size if there is none. A file that
// has no holes to tell of is one stretch.
func nextData(f *os.File, pos, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), pos, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO), err == nil && start >= size:
		return size, size, nil
	case err != nil:
		return pos, size, nil //nolint:nilerr // a file system that knows no holes
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	if err != nil || end > size || end <= start {
		return start, size, nil //nolint:nilerr // the same
	}
	return start, end, nil
}
