//go:build linux

package qemu

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// guestRAM makes a file in memory as QEMU does, and fills some of it.
func guestRAM(t *testing.T, size int64, seals int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate(memfdName, unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), memfdName)
	t.Cleanup(func() { f.Close() })
	must(t, f.Truncate(size))
	_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	must(t, err)
	return f
}

const fixedSize = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

func scribble(t *testing.T, f *os.File, at, n int64) {
	t.Helper()
	b := make([]byte, n)
	_, _ = rand.Read(b)
	_, err := f.WriteAt(b, at)
	must(t, err)
}

// TestMatchRAM: a copy is what it is of, again and again, has holes for zeroes, and goes back.
func TestMatchRAM(t *testing.T) {
	const size = 32 << 20
	guest := guestRAM(t, size, fixedSize)
	scribble(t, guest, 0, 100)
	scribble(t, guest, 5<<20, 3<<20+5)
	scribble(t, guest, size-10, 10)
	_, err := guest.WriteAt(make([]byte, 4<<20), 20<<20) // zeroes that are no hole
	must(t, err)
	saved, err := os.Create(filepath.Join(t.TempDir(), "ram"))
	must(t, err)
	defer saved.Close()
	must(t, saved.Truncate(size))
	same := func(a, b *os.File) {
		t.Helper()
		x, y := make([]byte, size), make([]byte, size)
		if _, err := a.ReadAt(x, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ReadAt(y, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Error("the copy differs")
		}
	}
	must(t, matchRAM(t.Context(), guest, saved, size))
	same(guest, saved)
	if used := fileUse(saved); used > 4<<20 {
		t.Errorf("a copy of 3 MiB takes %d bytes", used)
	}
	scribble(t, guest, 6<<20, 4097)
	scribble(t, guest, 30<<20, 1)
	must(t, unix.Fallocate(int(guest.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 5<<20, 1<<20))
	before := fileUse(saved)
	must(t, matchRAM(t.Context(), guest, saved, size))
	same(guest, saved)
	if used := fileUse(saved); used > before-900<<10 {
		t.Errorf("a copy takes %d bytes, and %d after 1 MiB was given back", before, used)
	}
	other := guestRAM(t, size, fixedSize)
	scribble(t, other, 1<<20, 1<<20)
	must(t, matchRAM(t.Context(), saved, other, size))
	same(guest, other)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := matchRAM(ctx, guest, saved, size); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	must(t, saved.Truncate(size/2))
	if err := matchRAM(t.Context(), guest, saved, size); err == nil {
		t.Error("a copy of half the size was filled")
	}
}

// TestGuestRAMIsChecked: a process that holds a guest may be the guest's, and show what it likes.
func TestGuestRAMIsChecked(t *testing.T) {
	const size = 1 << 20
	good := guestRAM(t, size, fixedSize)
	f, err := openGuestRAM(os.Getpid(), size)
	must(t, err)
	f.Close()
	must(t, checkGuestRAM(good, size))
	plain, err := os.Create(filepath.Join(t.TempDir(), "ram"))
	must(t, err)
	defer plain.Close()
	must(t, plain.Truncate(size))
	for name, bad := range map[string]*os.File{
		"on disk": plain, "not sealed": guestRAM(t, size, 0), "other size": guestRAM(t, 2*size, fixedSize),
	} {
		if checkGuestRAM(bad, size) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
