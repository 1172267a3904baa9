package sync

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDiskFull gives the host a disk that everything does not go onto, and then room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for i := range (kills(t, 3) + 9) / 10 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			c := newCrashes(t)
			c.must(os.MkdirAll(c.o.Dest, 0o755))
			size := 3<<20 + c.random.IntN(14<<20)
			if err := unix.Mount("tmpfs", c.o.Dest, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
				t.Skipf("a small disk needs root: %v", err)
			}
			t.Cleanup(func() { c.must(unix.Unmount(c.o.Dest, unix.MNT_DETACH)) })
			cmd, out := c.start()
			if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "no space left") {
				t.Fatalf("on a full disk: %v: %s", err, out)
			}
			whole := c.whole()
			t.Logf("%d of %d are there on %d bytes", len(whole), c.artifacts(), size)
			c.must(unix.Mount("tmpfs", c.o.Dest, "tmpfs", unix.MS_REMOUNT, "size=100m"))
			c.finish(whole)
		})
	}
}
