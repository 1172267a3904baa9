package sync

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/calmenu/calmenu/internal/guest"
)

// stallTimeout is how long a guest may be silent in the midst of an answer.
const stallTimeout = time.Minute

// ErrStalled is returned if the guest stopped answering in the midst of a listing or a transfer.
var ErrStalled = errors.New("the guest has stopped answering")

// stream runs a command whose every silence has an end. An error of stdout is returned as such, and ends the command.
func stream(ctx context.Context, r Runner, c guest.Cmd, stdout, stderr io.Writer) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(stallTimeout, func() { cancel(ErrStalled) })
	defer stall.Stop()
	w := &watchedWriter{w: stdout, wrote: func() { stall.Reset(stallTimeout) }, failed: cancel}
	exit, err := r.Stream(ctx, c, w, stderr)
	if cause := context.Cause(ctx); cause != nil {
		return exit, cause
	}
	return exit, err
}

type watchedWriter struct {
	w      io.Writer
	wrote  func()
	failed context.CancelCauseFunc
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.wrote()
	n, err := w.w.Write(b)
	if err != nil {
		w.failed(err)
	}
	return n, err
}

// complaint keeps the beginning of what a program complains about, safe to show.
type complaint struct{ b []byte }

func (t *complaint) Write(b []byte) (int, error) {
	const limit = 512
	t.b = append(t.b, b[:min(len(b), limit-len(t.b))]...)
	return len(b), nil
}

func (t *complaint) String() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.TrimSpace(string(t.b)))
}
