package session

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/muesli/cancelreader"
)

// reader reads the terminal in a goroutine of its own that can be stopped: what is typed after stop is left for whoever
// reads the terminal next.
type reader struct {
	from   cancelreader.CancelReader
	chunks chan chunk    // what was typed
	quit   chan struct{} // closed by stop
	ended  chan struct{} // closed when the goroutine has ended
	err    error         // why, unless it was stopped; set before ended is closed
}

// chunk is what one read of the terminal brought, and when.
type chunk struct {
	data []byte
	at   time.Time
}

// readSize is how much is read from the terminal at once, in bytes.
const readSize = 32 << 10

func startReader(tty *os.File) (*reader, error) {
	from, err := cancelreader.NewReader(tty)
	if err != nil {
		return nil, fmt.Errorf("listening to the terminal: %w", err)
	}
	r := &reader{
		from: from, chunks: make(chan chunk), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go r.run()
	return r, nil
}

func (r *reader) run() {
	defer close(r.ended)
	b := make([]byte, readSize)
	for {
		n, err := r.from.Read(b)
		if n > 0 {
			select {
			case r.chunks <- chunk{append([]byte(nil), b[:n]...), time.Now()}:
			case <-r.quit:
				return
			}
		}
		if errors.Is(err, cancelreader.ErrCanceled) {
			return
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			r.err = err
			return
		}
	}
}

// stop ends the goroutine and returns when it has ended. It is called once.
func (r *reader) stop() {
	close(r.quit)
	if r.from.Cancel() {
		<-r.ended
		_ = r.from.Close()
	}
}
