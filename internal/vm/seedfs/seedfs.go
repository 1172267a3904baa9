// Package seedfs is how a guest is given its identity from outside: the archive a machine that was resumed from a
// template finds on its disk, and the way seed files are put into a root file system, at boot (cmd/calinit) as at a
// resume (cmd/calseed).
//
// What must hold: it uses the standard library alone, because it is part of the programs that run in the guest; an
// archive is taken whole and unchanged or not at all; a file is replaced, never written through a link.
package seedfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// A seed lies in the last Area bytes of the disk a template was made with, behind its file system: a header of one
// Block, then the archive. Both sides read and write whole blocks, which is what a disk can do without a cache.
const (
	Area  = 16 << 20
	Block = 4096
	// Limit is the largest archive, in bytes.
	Limit = Area - Block
	// EntropyMin and EntropyMax bound the fresh random bytes of a seed.
	EntropyMin, EntropyMax = 64, 4096
	filesMax               = 4096
	pathMax                = 1024
)

// What calseed says on the console, a line each, after Says.
const (
	Says   = "calseed: "
	Ready  = "ready"
	Seeded = "seeded"
	Failed = "failed: "
)

var magic = [8]byte{'C', 'A', 'L', 'S', 'E', 'E', 'D', '1'}

// ErrEmpty says that a header's block holds no seed (yet).
var ErrEmpty = errors.New("there is no seed")

// Seed is what makes a machine of its own of a template's copy.
type Seed struct {
	Time    int64 // nanoseconds since 1970, UTC
	Entropy []byte
	Files   []File // sorted by path: parents come before what is in them
}

// File is a regular file, or with fs.ModeDir in Mode a directory.
type File struct {
	Path     string // absolute and clean
	Mode     fs.FileMode
	UID, GID int
	Data     []byte
}

// Header describes an archive that follows it.
type Header struct {
	Size int
	Sum  [sha256.Size]byte
}

// Encode returns a seed as it is put on the disk: header and archive, each padded to whole blocks.
func Encode(s Seed) ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	var b []byte
	b = binary.BigEndian.AppendUint64(b, uint64(s.Time))
	b = appendBytes(b, s.Entropy)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Files)))
	for _, f := range s.Files {
		b = appendBytes(b, []byte(f.Path))
		mode := uint32(f.Mode.Perm())
		if f.Mode.IsDir() {
			mode |= dirBit
		}
		b = binary.BigEndian.AppendUint32(b, mode)
		b = binary.BigEndian.AppendUint32(b, uint32(f.UID))
		b = binary.BigEndian.AppendUint32(b, uint32(f.GID))
		b = appendBytes(b, f.Data)
	}
	if len(b) > Limit {
		return nil, fmt.Errorf("writing a seed: %d bytes are more than the %d there is room for", len(b), Limit)
	}
	sum := sha256.Sum256(b)
	header := append(magic[:len(magic):len(magic)], sum[:]...)
	header = binary.BigEndian.AppendUint32(header, uint32(len(b)))
	return append(pad(header), pad(b)...), nil
}

// dirBit marks a directory in the archive's modes.
const dirBit = 1 << 31

func appendBytes(b, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}

func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&(Block-1))...) }

// ParseHeader reads the header's block. ErrEmpty if it holds something else than a seed's.
func ParseHeader(block []byte) (Header, error) {
	rest, ok := bytes.CutPrefix(block, magic[:])
	if !ok {
		return Header{}, ErrEmpty
	}
	var h Header
	if len(rest) < len(h.Sum)+4 {
		return Header{}, errors.New("reading a seed: its header is cut off")
	}
	copy(h.Sum[:], rest)
	size := binary.BigEndian.Uint32(rest[len(h.Sum):])
	if size > Limit {
		return Header{}, fmt.Errorf("reading a seed: %d bytes are more than the %d there is room for", size, Limit)
	}
	h.Size = int(size)
	return h, nil
}

// Decode reads an archive that Encode wrote. It takes nothing that Encode would not have written.
func Decode(h Header, archive []byte) (Seed, error) {
	if len(archive) != h.Size || sha256.Sum256(archive) != h.Sum {
		return Seed{}, errors.New("reading a seed: it is not what its header describes")
	}
	r := reader{b: archive}
	s := Seed{Time: int64(r.u64()), Entropy: r.bytes(EntropyMax)}
	n := r.u32()
	if n > filesMax {
		return Seed{}, fmt.Errorf("reading a seed: %d files are too many", n)
	}
	for range n {
		if r.cut {
			break
		}
		f := File{Path: string(r.bytes(pathMax))}
		mode := r.u32()
		f.Mode = fs.FileMode(mode &^ dirBit)
		if mode&dirBit != 0 {
			f.Mode |= fs.ModeDir
		}
		f.UID, f.GID = int(r.u32()), int(r.u32())
		f.Data = r.bytes(Limit)
		s.Files = append(s.Files, f)
	}
	if r.cut || len(r.b) != 0 {
		return Seed{}, errors.New("reading a seed: its parts do not add up to its size")
	}
	return s, s.check()
}

// check says what is wrong with a seed, if anything.
func (s Seed) check() error {
	if n := len(s.Entropy); n < EntropyMin || n > EntropyMax {
		return fmt.Errorf("a seed has %d bytes of entropy, not %d to %d", n, EntropyMin, EntropyMax)
	}
	if s.Time <= 0 {
		return errors.New("a seed has no time")
	}
	if len(s.Files) > filesMax {
		return fmt.Errorf("a seed has %d files, more than %d", len(s.Files), filesMax)
	}
	last := ""
	for _, f := range s.Files {
		if err := f.check(); err != nil {
			return fmt.Errorf("seeding %q: %w", f.Path, err)
		}
		if f.Path <= last {
			return fmt.Errorf("seeding %q: it comes twice or out of order", f.Path)
		}
		last = f.Path
	}
	return nil
}

func (f File) check() error {
	const idMax = 1 << 30
	switch {
	case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" || len(f.Path) > pathMax ||
		strings.ContainsRune(f.Path, 0):
		return errors.New("not a clean absolute path")
	case f.Mode&^(fs.ModeDir|fs.ModePerm) != 0:
		return errors.New("neither a file nor a directory")
	case f.Mode.IsDir() && len(f.Data) > 0:
		return errors.New("a directory with content")
	case f.UID < 0 || f.GID < 0 || f.UID > idMax || f.GID > idMax:
		return errors.New("its owner is no account")
	}
	return nil
}

// reader takes an archive apart; cut is set as soon as it asks for more than there is.
type reader struct {
	b   []byte
	cut bool
}

func (r *reader) take(n int) []byte {
	if r.cut || n > len(r.b) {
		r.cut = true
		return make([]byte, min(n, 8))
	}
	taken := r.b[:n:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) bytes(limit int) []byte {
	n := r.u32()
	if n > uint32(limit) {
		r.cut = true
		return nil
	}
	return r.take(int(n))
}
