package qemu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
)

const (
	// memfdName is what QEMU's memory-backend-memfd names its file.
	memfdName = "memory-backend-memfd"

	ramPage   = 4096
	ramChunk  = 256 << 10 // small enough for two to stay in a processor's cache
	ramSpan   = 4 << 20   // what one worker takes at a time
	ramCopies = 2         // workers; more are no faster
)

// matchRAM makes the file to, of the same size, hold what from holds, writing only pages that differ: into an empty
// file that is a copy with a hole for every page of zeroes, and into an earlier copy only what changed since. Reading
// what did not change is several times as fast as writing it, which is what makes a pause short.
func matchRAM(ctx context.Context, from, to *os.File, size int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	spans := make(chan [2]int64)
	var workers sync.WaitGroup
	for range ramCopies {
		workers.Go(func() {
			m := matcher{from: from, to: to, want: make([]byte, ramChunk), have: make([]byte, ramChunk)}
			for span := range spans {
				for pos := span[0]; pos < span[1]; pos += ramChunk {
					if err := m.match(pos, min(ramChunk, span[1]-pos)); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	err := eachData(from, to, size, func(start, end int64) error {
		for ; start < end; start += ramSpan {
			select {
			case spans <- [2]int64{start, min(start+ramSpan, end)}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	close(spans)
	workers.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("copying the memory: %w", err)
	}
	return nil
}

// eachData calls do for every stretch in which one of two files of the same size is no hole.
func eachData(a, b *os.File, size int64, do func(start, end int64) error) error {
	for pos := int64(0); pos < size; {
		start, end, err := nextData(a, pos, size)
		if err != nil {
			return err
		}
		otherStart, otherEnd, err := nextData(b, pos, size)
		if err != nil {
			return err
		}
		if otherStart < start {
			start, end = otherStart, min(otherEnd, start)
		}
		// Whole pages, so that none is compared in parts.
		start, end = start&^(ramPage-1), min((end+ramPage-1)&^(ramPage-1), size)
		if start >= size {
			return nil
		}
		if err := do(start, end); err != nil {
			return err
		}
		pos = end
	}
	return nil
}

// matcher is one worker with its buffers.
type matcher struct {
	from, to   *os.File
	want, have []byte
}

func (m *matcher) match(pos, n int64) error {
	want, have := m.want[:n], m.have[:n]
	if _, err := m.from.ReadAt(want, pos); err != nil {
		return noEOF(err)
	}
	if _, err := m.to.ReadAt(have, pos); err != nil {
		return noEOF(err)
	}
	if bytes.Equal(want, have) {
		return nil
	}
	for i := int64(0); i < n; {
		for i < n && samePage(want, have, i) {
			i += ramPage
		}
		first := i
		for i < n && !samePage(want, have, i) {
			i += ramPage
		}
		if first < n {
			if err := m.put(want[first:min(i, n)], pos+first); err != nil {
				return err
			}
		}
	}
	return nil
}

// put writes pages; where all of them are zero it makes a hole. What was given back since the copy before takes no room.
func (m *matcher) put(pages []byte, at int64) error {
	if isZero(pages) && punchHole(m.to, at, int64(len(pages))) == nil {
		return nil
	}
	_, err := m.to.WriteAt(pages, at)
	return err
}

func isZero(b []byte) bool {
	return len(b) > 0 && b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}

func samePage(a, b []byte, at int64) bool {
	end := min(at+ramPage, int64(len(a)))
	return bytes.Equal(a[at:end], b[at:end])
}

// noEOF makes a file that ends too early an error even to who looks for io.EOF.
func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // ReadAt returns it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
