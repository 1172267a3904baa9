package sync

import (
	"context"
	"io"
	"strings"
	gosync "sync"
	"time"
	"unicode"

	"github.com/calmenu/calmenu/internal/guest"
)

// stream runs a command that is waited for as long as its guest has credit for; gained is what the next n bytes of its
// output have earned. An error of stdout is returned as such, and ends the command.
func stream(
	ctx context.Context, r Runner, c guest.Cmd, stdout, stderr io.Writer, gained func(n int) time.Duration,
) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watchedWriter{w: stdout, gained: gained, failed: cancel, credit: credit{left: patience}}
	w.stall = time.AfterFunc(w.credit.wait(), w.giveUp)
	defer w.stall.Stop()
	exit, err := r.Stream(ctx, c, w, stderr)
	if cause := context.Cause(ctx); cause != nil {
		return exit, cause
	}
	return exit, err
}

type watchedWriter struct {
	w      io.Writer
	gained func(n int) time.Duration
	failed context.CancelCauseFunc
	stall  *time.Timer

	mu     gosync.Mutex // guards what follows
	credit credit
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.stall.Stop() // what the host takes its time for is not the guest's silence
	w.credit.heard()
	w.mu.Unlock()
	n, err := w.w.Write(b)
	if err != nil {
		w.failed(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.credit.earn(w.gained(n))
	w.stall.Reset(w.credit.wait())
	return n, err
}

func (w *watchedWriter) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed(w.credit.over())
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
