package outboxer

import (
	"crypto/sha256"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

const (
	// tick is more than the grain of a file system's times: a file that changed less than that ago could change again
	// without showing it.
	tick = 12 * time.Millisecond
	// earlyCheck is from which size on a file is not begun to be sent while it is open for writing.
	earlyCheck = 256 << 10
)

// rootOf is the outbox as it is opened once for all files that one frame asks for.
type rootOf struct {
	fd    int // -1: not open
	frame int
}

func (r *rootOf) open(dir string, frame int) (fd int, err error) {
	if r.fd >= 0 && r.frame == frame {
		return r.fd, nil
	}
	r.close()
	r.fd, err = openDir(dir)
	r.frame = frame
	return r.fd, err
}

func (r *rootOf) close() {
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
		r.fd = -1
	}
}

// get hands one file over.
func (s *server) get(root *rootOf, j *job, buffer []byte) {
	status, words := s.send(root, j, buffer)
	p := wire.AppendUint(nil, uint64(j.request.ID))
	p = append(p, byte(status))
	s.out.frame(wire.Finish, wire.AppendText(p, words))
}

func (s *server) send(root *rootOf, j *job, buffer []byte) (wire.Status, string) {
	// Descriptors are used as they are: each system call more is felt thousands of times.
	dir, err := root.open(s.box.Dir, j.frame)
	if err != nil {
		return wire.Changed, ""
	}
	r, asked := &j.request, j.asked
	f, err := openAt(dir, r.Entry.Name, 0)
	if err != nil {
		return refusal(err)
	}
	defer func() { _ = unix.Close(f) }()
	now, blocks, err := fstatEntry(f, r.Entry.Name)
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
	sparse := blocks*512 < now.Size // it takes less room than it is long
	if err := s.content(f, r, sparse, buffer); err != nil {
		if errors.Is(err, errChanged) {
			return wire.Changed, ""
		}
		return refusal(err)
	}
	if s.busy.has(f, id, asked) {
		return wire.Busy, ""
	}
	if now, _, err = fstatEntry(f, r.Entry.Name); err != nil || !same(&now, &r.Entry) {
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
func (s *server) content(f int, r *wire.Request, sparse bool, buffer []byte) error {
	at := s.begin(f, r, buffer)
	if r.From > 0 {
		s.out.frame(wire.At, wire.AppendUint(wire.AppendUint(nil, uint64(r.ID)), uint64(at)))
	}
	size := r.Entry.Size
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
			n, err := readAt(f, buffer[wire.DataHeaderSize:wire.DataHeaderSize+n], at)
			if err != nil {
				return err
			}
			if n == 0 {
				return errChanged // it has become shorter
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

// readAt reads what there is at an offset: nothing at the end of the file.
func readAt(f int, b []byte, at int64) (n int, err error) {
	err = ignoringEINTR(func() error {
		n, err = unix.Pread(f, b, at)
		return err
	})
	return max(n, 0), err
}

// begin returns where to begin: after what the host has already, if that is how the file begins.
func (s *server) begin(f int, r *wire.Request, buffer []byte) int64 {
	if r.From <= 0 || r.From > r.Entry.Size {
		return 0
	}
	h := sha256.New()
	for at := int64(0); at < r.From; {
		n, err := readAt(f, buffer[:min(int64(len(buffer)), r.From-at)], at)
		if n == 0 || err != nil {
			return 0
		}
		h.Write(buffer[:n])
		if at/wire.BeatEvery != (at+int64(n))/wire.BeatEvery {
			s.out.frame(wire.Beat, nil)
			s.out.flush()
		}
		at += int64(n)
	}
	if [32]byte(h.Sum(nil)) != r.Sum {
		return 0
	}
	return r.From
}
