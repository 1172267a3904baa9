package sync

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
			size := 3<<20 + c.random.IntN(10<<20) // all of it needs some 16 MB
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

// TestSmallerFilesLandOnAFullDisk: what has no room keeps nothing else back, and leaves nothing behind.
func TestSmallerFilesLandOnAFullDisk(t *testing.T) {
	overEach(t, func(t *testing.T, b *outbox) {
		b.must(os.MkdirAll(b.o.Dest, 0o755))
		if err := unix.Mount("tmpfs", b.o.Dest, "tmpfs", 0, "size=3m"); err != nil {
			t.Skipf("a small disk needs root: %v", err)
		}
		t.Cleanup(func() { b.must(unix.Unmount(b.o.Dest, unix.MNT_DETACH)) })
		large := strings.Repeat("0123456789abcdef", 5<<16)
		for _, name := range []string{"a", "m", "z"} {
			b.put(name, name)
		}
		b.put("b", large)
		b.put("n", large[:2<<20])
		r, err := Once(t.Context(), b.transport(), b.o, nil)
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "no room for b (5.2 MB)") || strings.Contains(err.Error(), "\n") {
			t.Errorf("on a full disk: %v", err)
		}
		if b.have("a")+b.have("m")+b.have("z") != "amz" || len(r.Landed) < 3 {
			t.Errorf("landed %v", r.Landed)
		}
		if left, err := os.ReadDir(filepath.Join(b.o.Dest, stagingDir)); err == nil && len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		b.must(unix.Mount("tmpfs", b.o.Dest, "tmpfs", unix.MS_REMOUNT, "size=30m"))
		b.once()
		if b.have("b") != large || b.have("n") != large[:2<<20] {
			t.Error("with room, something else has landed")
		}
	})
}
