package outboxer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

// readers is how many files are read at the same time: opening one waits for the disk, and guests have several processors.
const readers = 2

// queued bounds the requests that are read ahead.
const queued = 4096

// Serve answers the host until its requests end, which is no error.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	requests := bufio.NewReaderSize(in, 64<<10)
	kind, payload, err := readFrame(requests, nil)
	if err != nil || kind != wire.Hello {
		cancel()
		return fmt.Errorf("waiting for the host's first word: %w", errors.Join(err, errOrder))
	}
	box, err := wire.DecodeOutbox(payload)
	if err != nil {
		cancel()
		return err
	}
	if !path.IsAbs(box.Dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "."
		}
		box.Dir = path.Join(home, box.Dir)
	}
	s := &server{box: box, out: newOutput(out), jobs: make(chan job, queued), busy: newWriters()}
	s.out.frame(wire.Ready, wire.AppendUint(nil, wire.Version))
	s.out.flush()
	var running sync.WaitGroup
	for range readers {
		running.Go(s.work)
	}
	// What waits for output that nobody takes ends with the process, not with ctx.
	defer running.Wait()
	defer close(s.jobs)
	defer cancel()
	for {
		kind, payload, err = readFrame(requests, payload)
		if errors.Is(err, io.EOF) {
			return s.out.failed()
		}
		if err == nil {
			err = s.request(ctx, kind, payload)
		}
		if err != nil {
			s.out.frame(wire.Failure, wire.AppendText(nil, err.Error()))
			s.out.flush()
			return err
		}
	}
}

var errOrder = errors.New("the host says what it must not say here")

// server is one conversation with the host.
type server struct {
	box      wire.Outbox
	out      *output
	jobs     chan job
	busy     *writers
	frames   int                // that asked for files
	endWatch context.CancelFunc // of the watch under way; nil: there is none
	watched  chan struct{}      // closed when it has ended
}

// job is one thing to do: a file to hand over, or a listing.
type job struct {
	request wire.Request
	asked   time.Time
	frame   int // which asked for it
	list    bool
	listing uint32 // its number
	bundle  string // what is listed; "": all
}

func (s *server) request(ctx context.Context, kind byte, payload []byte) error {
	switch kind {
	case wire.List:
		s.jobs <- job{list: true, listing: wire.WholeOutbox}
	case wire.Seal:
		d := wire.NewDecoder(payload)
		j := job{list: true, listing: uint32(d.Uint()), bundle: d.Text()}
		if err := d.Err(); err != nil {
			return err
		}
		s.jobs <- j
	case wire.Get:
		now := time.Now()
		s.frames++
		return wire.Requests(payload, func(r wire.Request) { s.jobs <- job{request: r, asked: now, frame: s.frames} })
	case wire.Watch:
		s.beginWatch(ctx)
	default:
		return errOrder
	}
	return nil
}

// beginWatch begins to watch, anew if there is a watch already: nothing of that is said after the first word of this one.
func (s *server) beginWatch(ctx context.Context) {
	before := s.watched
	if before != nil {
		s.endWatch()
	}
	ctx, s.endWatch = context.WithCancel(ctx)
	ended := make(chan struct{})
	s.watched = ended
	go func() {
		defer close(ended)
		if before != nil {
			<-before
		}
		s.watch(ctx)
	}()
}

// work does jobs as they come. What has been said goes out when there is nothing more to say for now.
func (s *server) work() {
	var buffer []byte
	root := rootOf{fd: -1}
	defer root.close()
	for j := range s.jobs {
		if j.list {
			s.list(j.listing, j.bundle)
		} else {
			if buffer == nil {
				buffer = make([]byte, wire.DataHeaderSize+wire.MaxData)
			}
			s.get(&root, &j, buffer)
		}
		if len(s.jobs) == 0 {
			s.out.flush()
			root.close() // held open, a directory that is removed would not be told of
		}
	}
}

func readFrame(r io.Reader, buffer []byte) (kind byte, payload []byte, err error) {
	var head [wire.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > wire.MaxPayload {
		return 0, nil, errOrder
	}
	if uint32(cap(buffer)) < size {
		buffer = make([]byte, size)
	}
	payload = buffer[:size]
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

// output is the stream to the host. Frames of several goroutines are never mixed.
type output struct {
	mu  sync.Mutex
	w   *bufio.Writer
	err error // the first
}

func newOutput(w io.Writer) *output {
	if f, ok := w.(*os.File); ok {
		widen(f)
	}
	return &output{w: bufio.NewWriterSize(w, 256<<10)}
}

func (o *output) frame(kind byte, payload []byte) {
	o.write(wire.AppendFrame(make([]byte, 0, wire.HeaderSize+len(payload)), kind, payload))
}

// write takes whole frames.
func (o *output) write(frames []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.w.Write(frames); err != nil && o.err == nil {
		o.err = err
	}
}

func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.w.Flush(); err != nil && o.err == nil {
		o.err = err
	}
}

// failed is the error that the host's end of the stream has met, after which nothing is of use.
func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
