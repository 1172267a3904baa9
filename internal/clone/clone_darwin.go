package clone

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// whole clones a file by clonefile(2), without its owner and without its access control list.
func whole(from *os.File, dir *os.Root, name string, mode os.FileMode) (*os.File, error) {
	parent, err := dir.Open(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	err = unix.Fclonefileat(int(from.Fd()), int(parent.Fd()), path.Base(name), unix.CLONE_NOOWNERCOPY)
	if err != nil {
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EXDEV) {
			return nil, errors.ErrUnsupported
		}
		return nil, err
	}
	if err := dir.Chmod(name, mode|0o600); err != nil {
		return nil, err
	}
	to, err := dir.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return to, to.Chmod(mode)
}

func blocks(*os.File, *os.File) error { return errors.ErrUnsupported }
