package outboxer

import (
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

const (
	// tick is more than the grain of a file system's times: a file that changed less than that ago could change again
	// without showing it.
	tick = 12 * time.Millisecond
	// beatEvery is how many bytes are read between signs of life while nothing is sent.
	beatEvery = 32 << 20
	// earlyCheck is from which size on a file is not begun to be sent while it is open for writing.
	earlyCheck = 256 << 10
)

// get hands one file over.
func (s *server) get(r *wire.Request, asked time.Time, buffer []byte) {
	status, words := s.send(r, asked, buffer)
	p := wire.AppendUint(nil, uint64(r.ID))
	p = append(p, byte(status))
	s.out.frame(wire.Finish, wire.AppendText(p, words))
}

func (s *server) send(r *wire.Request, asked time.Time, buffer []byte) (wire.Status, string) {
	root, err := openRoot(s.box.Dir)
	if err != nil {
		return wire.Changed, ""
	}
	defer root.Close()
	f, err := openBeneath(root, r.Entry.Name, 0)
	if err != nil {
		return refusal(err)
	}
	defer f.Close()
	now, err := fstatEntry(f, r.Entry.Name)
	if err != nil || now.Kind != 'f' || !same(&now, &r.Entry) {
		return wire.Changed, ""
	}
	id := inode{now.Device, now.Inode}
	if now.Size > earlyCheck && s.busy.has(f, id, asked) {
		return wire.Busy, ""
	}
	if age := time.Since(now.CTime.Time()); age >= 0 && age < tick {
		time.Sleep(tick - age)
	}
	if err := s.content(f, r, buffer); err != nil {
		if errors.Is(err, errChanged) {
			return wire.Changed, ""
		}
		return refusal(err)
	}
	if s.busy.has(f, id, asked) {
		return wire.Busy, ""
	}
	if now, err = fstatEntry(f, r.Entry.Name); err != nil || !same(&now, &r.Entry) {
		return wire.Changed, ""
	}
	return wire.Whole, ""
}

// same tells whether a file is the one that was listed, unchanged.
func same(a, b *wire.Entry) bool {
	return a.Size == b.Size && a.Inode == b.Inode && a.CTime == b.CTime && a.MTime == b.MTime && a.Mode == b.Mode
}

func refusal(err error) (wire.Status, string) {
	switch {
	case errors.Is(err, os.ErrPermission):
		return wire.Refused, "the guest's user may not read it"
	case errors.Is(err, unix.EIO):
		return wire.Refused, "the guest's disk cannot read it"
	}
	return wire.Changed, "" // gone, or replaced by a link
}

var errChanged = errors.New("the file has changed")

// content sends the bytes of a file, as many as were listed.
func (s *server) content(f *os.File, r *wire.Request, buffer []byte) error {
	at := s.begin(f, r, buffer)
	if r.From > 0 {
		s.out.frame(wire.At, wire.AppendUint(wire.AppendUint(nil, uint64(r.ID)), uint64(at)))
	}
	size := r.Entry.Size
	sparse := holes(f, size)
	for at < size {
		data, hole := at, size
		if sparse {
			data, hole = nextHole(f, at, size)
		}
		if data > at {
			s.out.frame(wire.Hole, wire.AppendUint(wire.AppendUint(nil, uint64(r.ID)), uint64(data-at)))
			at = data
		}
		for at < hole {
			n := int(min(hole-at, wire.MaxData))
			n, err := f.ReadAt(buffer[wire.DataHeaderSize:wire.DataHeaderSize+n], at)
			if n == 0 {
				if err == nil || errors.Is(err, io.EOF) {
					return errChanged
				}
				return err
			}
			wire.PutDataHeader(buffer, r.ID, n)
			s.out.write(buffer[:wire.DataHeaderSize+n])
			at += int64(n)
		}
		if err := s.out.failed(); err != nil {
			return err
		}
	}
	return nil
}

// holes tells whether a file takes less room than it is long.
func holes(f *os.File, size int64) bool {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return false
	}
	return st.Blocks*512 < size
}

// begin returns where to begin: after what the host has already, if that is how the file begins.
func (s *server) begin(f *os.File, r *wire.Request, buffer []byte) int64 {
	if r.From <= 0 || r.From > r.Entry.Size {
		return 0
	}
	h := sha256.New()
	for at := int64(0); at < r.From; {
		n, err := f.ReadAt(buffer[:min(int64(len(buffer)), r.From-at)], at)
		h.Write(buffer[:n])
		if at/beatEvery != (at+int64(n))/beatEvery {
			s.out.frame(wire.Beat, nil)
			s.out.flush()
		}
		if at += int64(n); err != nil && at < r.From {
			return 0
		}
	}
	if [32]byte(h.Sum(nil)) != r.Sum {
		return 0
	}
	return r.From
}
