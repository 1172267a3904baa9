package ext4

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Inode is a file or folder that changed.
type Inode struct {
	Number uint32
	Type   byte // as find(1) prints it: d, f, l, p, s, b, c; ? if it is something else
	Links  uint16
	Size   int64 // bytes; what waits to be given a place on the disk is not in it
	Change int64 // seconds since 1970: when it changed
	Write  int64 // and when what is in it did; somebody may have set that to another time
}

// Changed is a set of inodes.
type Changed struct {
	list  []Inode
	index []uint32 // by number: 1 more than the place in the list, 0 if it is not in it
}

// NewChanged returns a set of these, of a file system with so many inodes.
func NewChanged(inodes uint32, list []Inode) *Changed {
	c := &Changed{list: list, index: make([]uint32, inodes+1)}
	for i, in := range list {
		c.index[in.Number] = uint32(i) + 1
	}
	return c
}

// All are all of them, in no order.
func (c *Changed) All() []Inode { return c.list }

// Find returns the place of an inode in All, or -1 if it did not change.
func (c *Changed) Find(number uint64) int {
	if number >= uint64(len(c.index)) {
		return -1
	}
	return int(c.index[number]) - 1
}

// chunk is how much of the tables is read at once, in bytes; a multiple of every size of inode.
const chunk = 1 << 20

// piece is a part of a table that one goroutine looks through.
type piece struct {
	at    int64
	first uint32 // the number of its first inode
	bytes int
}

// Since returns the inodes of files that changed after an instant and have a name.
func (t *Table) Since(since time.Time) (*Changed, error) {
	var pieces []piece
	for g, in := range t.groups {
		bytes := int64(in.used) * int64(t.inodeSize)
		for done := int64(0); done < bytes; done += chunk {
			pieces = append(pieces, piece{
				at: in.at + done, first: uint32(g)*t.perGroup + uint32(done/int64(t.inodeSize)) + 1,
				bytes: int(min(chunk, bytes-done)),
			})
		}
	}
	var mu sync.Mutex
	var failed error
	var list []Inode
	next := make(chan piece, len(pieces))
	for _, p := range pieces {
		next <- p
	}
	close(next)
	var readers sync.WaitGroup
	for range min(2, runtime.GOMAXPROCS(0)) {
		readers.Go(func() {
			b := make([]byte, chunk)
			for p := range next {
				found, err := t.look(p, b, since)
				mu.Lock()
				list = append(list, found...)
				if err != nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	readers.Wait()
	return NewChanged(t.inodes, list), failed
}

func (t *Table) look(p piece, b []byte, since time.Time) ([]Inode, error) {
	b = b[:p.bytes]
	if _, err := t.dev.ReadAt(b, p.at); err != nil {
		return nil, fmt.Errorf("reading inodes: %w", err)
	}
	seconds, nanos := since.Unix(), uint32(since.Nanosecond())
	var found []Inode
	for n := p.first; len(b) >= t.inodeSize; n, b = n+1, b[t.inodeSize:] {
		// Most are older, free, or never were: that is seen at once. The low half of the seconds is signed, and the two low
		// bits of the other field are what comes above it.
		extra := extraOf(b, 0x84)
		at := int64(int32(binary.LittleEndian.Uint32(b[0xc:]))) + int64(extra&3)<<32
		if at < seconds || at == seconds && extra>>2 <= nanos {
			continue
		}
		links := binary.LittleEndian.Uint16(b[0x1a:])
		if links == 0 || n < firstInode && n != Root {
			continue
		}
		kind := typeOf(binary.LittleEndian.Uint16(b))
		size := int64(binary.LittleEndian.Uint32(b[0x4:]))
		if kind == 'f' {
			size |= int64(binary.LittleEndian.Uint32(b[0x6c:])) << 32
		}
		found = append(found, Inode{
			Number: n, Type: kind, Links: links, Size: size, Change: at,
			Write: int64(int32(binary.LittleEndian.Uint32(b[0x10:]))) + int64(extraOf(b, 0x88)&3)<<32,
		})
	}
	return found, nil
}

// extraOf reads a field of the part of an inode that not every inode has.
func extraOf(b []byte, at int) uint32 {
	if at+4 > 128+int(binary.LittleEndian.Uint16(b[0x80:])) {
		return 0
	}
	return binary.LittleEndian.Uint32(b[at:])
}

func typeOf(mode uint16) byte {
	switch mode >> 12 {
	case 0x1:
		return 'p'
	case 0x2:
		return 'c'
	case 0x4:
		return 'd'
	case 0x6:
		return 'b'
	case 0x8:
		return 'f'
	case 0xa:
		return 'l'
	case 0xc:
		return 's'
	}
	return '?'
}
