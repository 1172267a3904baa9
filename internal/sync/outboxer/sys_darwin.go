package outboxer

import (
	"os"

	"golang.org/x/sys/unix"
)

func openAt(dir int, name string, flags int) (int, error) {
	return openStepwise(dir, name, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK)
}

const atPath = 0

func nextHole(_ int, at, size int64) (data, hole int64) { return at, size }

// A file that is written to says so by its times alone.
func leased(int) (busy, known bool) { return false, true }

func openForWriting() map[inode]bool { return nil }

// widen does nothing: macOS gives a pipe more by itself when it is filled.
func widen(*os.File) {}
