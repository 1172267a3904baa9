package sync

import (
	"errors"
	"os"
	gosync "sync"
	"sync/atomic"
	"time"

	"github.com/calmenu/calmenu/internal/heap"
)

// Most files are small, and making one takes longer than receiving it. So they are received in memory, made by one
// goroutine while the next ones come, and landed by another.
const (
	smallFile = 64 << 10 // bytes; what is larger is written as it comes
	smallWait = 64       // files that may wait to be made
	smallMost = 96       // buffers there are: a guest that begins many files at once gets no more memory for it
)

// small is a file that has come whole.
type small struct {
	item    *staged
	content []byte
	mode    os.FileMode
	modTime time.Time
}

// step is a file to be made, or a batch to be landed whose files the steps before it have made.
type step struct {
	file  *small
	batch []*staged
}

// backstage takes its steps while a transport goes on. Its methods are called from one goroutine at a time.
type backstage struct {
	make func(*small) error
	land func([]*staged) error

	steps chan step     // nil: nothing runs
	over  chan struct{} // closed when all that was added has been done

	buffers chan []byte // for the content of small files, to be used again
	made    int         // of those

	broken atomic.Bool // an error was met: what follows is in vain
	mu     gosync.Mutex
	errs   []error
}

// add has a step taken. An error is one of an earlier step.
func (b *backstage) add(s step) error {
	if b.broken.Load() {
		return b.wait()
	}
	if b.steps == nil {
		b.start()
	}
	b.steps <- s
	return nil
}

// buffer is one for a small file; nil if there are too many.
func (b *backstage) buffer() []byte {
	select {
	case buffer := <-b.buffers:
		return buffer
	default:
	}
	if b.made == smallMost {
		return nil
	}
	b.made++
	return make([]byte, 0, smallFile)
}

// free takes a buffer back.
func (b *backstage) free(buffer []byte) {
	if buffer != nil {
		b.buffers <- buffer[:0] // there is room for all there are
	}
}

func (b *backstage) start() {
	b.steps, b.over = make(chan step, smallWait), make(chan struct{})
	steps, made, over := b.steps, make(chan []*staged, 1), b.over
	go func() {
		defer close(made)
		for s := range steps {
			switch {
			case b.broken.Load():
			case s.file != nil:
				b.note(b.make(s.file))
			default:
				made <- s.batch
			}
		}
	}()
	go func() {
		defer close(over)
		failed := false // if only a file could not be made, what was handed on before it is whole
		for batch := range made {
			if !failed {
				err := b.land(batch)
				b.note(err)
				failed = err != nil
			}
		}
	}()
}

func (b *backstage) note(err error) {
	if err == nil {
		return
	}
	b.mu.Lock()
	b.errs = append(b.errs, err)
	b.mu.Unlock()
	b.broken.Store(true)
}

// wait returns when all steps have been taken, or one could not be.
func (b *backstage) wait() error {
	if b.steps != nil {
		close(b.steps)
		b.steps = nil
		<-b.over
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.errs...)
}

// abandon makes no file more, and returns when nothing is under way.
func (b *backstage) abandon() {
	b.broken.Store(true)
	_ = b.wait() // what went wrong is known already
}

// close gives up what has not landed. Nothing may be under way.
func (s *Staging) close() {
	for i := range s.items {
		s.items[i].drop()
	}
	s.maker.close()
}

// inode makes the file's inode, with what has come so far.
func (f *Staged) inode() (err error) {
	if f.f != nil {
		return nil
	}
	how := os.O_RDWR | os.O_CREATE | os.O_EXCL
	if f.item.resumable() {
		how = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	}
	if f.f, err = f.of.dir.OpenFile(f.at, how, 0o600); err != nil {
		return atHost(err)
	}
	if f.small == nil {
		return nil
	}
	_, err = f.f.Write(f.small)
	f.of.stage.free(f.small)
	f.small = nil
	if err != nil {
		return atHost(err)
	}
	return nil
}

// apart is from how many bytes on hashing them beside writing them is worth a goroutine.
const apart = 32 << 10

// keep hashes and writes the next bytes.
func (f *Staged) keep(b []byte) error {
	switch {
	case f.f == nil:
		f.hash.Write(b)
		f.small = append(f.small, b...)
		return nil
	case len(b) < apart:
		f.hash.Write(b)
		_, err := f.f.Write(b)
		return err
	}
	heap.Carried(len(b))
	hashed := make(chan struct{})
	go func() {
		f.hash.Write(b)
		close(hashed)
	}()
	_, err := f.f.Write(b)
	<-hashed
	return err
}
