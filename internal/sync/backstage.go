package sync

import (
	"errors"
	"os"
	gosync "sync"
	"sync/atomic"
	"time"
)

// Most files are small, and making one takes longer than receiving it. So they are received in memory, made by one
// goroutine while the next ones come, and landed by another.
const (
	smallFile = 64 << 10 // bytes; what is larger is written as it comes
	smallWait = 64       // files that may wait to be made
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

// buffer is one for a small file.
func (b *backstage) buffer() []byte {
	select {
	case buffer := <-b.buffers:
		return buffer
	default:
		return make([]byte, 0, smallFile)
	}
}

// free takes a buffer back.
func (b *backstage) free(buffer []byte) {
	select {
	case b.buffers <- buffer[:0]:
	default:
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
