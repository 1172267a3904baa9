package sync

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"sync/atomic"
	"time"
)

// watchArgv is the program that tells of changes. It prints kinds of events and no names: what has changed is found by
// looking.
func watchArgv(o Options) []string {
	return []string{
		"env", "LC_ALL=C", "inotifywait", "--monitor", "--recursive", "--format", "%e",
		"--timeout", strconv.Itoa(int(watchFor.Seconds())),
		"-e", "close_write", "-e", "moved_to", "-e", "create", "-e", "attrib", "-e", "delete_self", "-e", "move_self",
		"--", findRoot(o.GuestDir),
	}
}

// events takes what the watching program prints. Any word of it is a reason to look.
type events struct {
	happened chan struct{}
	isDir    atomic.Bool
	last     []byte // end of what was written, where a word may have been cut
}

func newEvents() *events { return &events{happened: make(chan struct{}, 1)} }

func (ev *events) Write(b []byte) (int, error) {
	if seen(&ev.last, b, "ISDIR") {
		ev.isDir.Store(true)
	}
	ev.happen()
	return len(b), nil
}

func (ev *events) happen() {
	select {
	case ev.happened <- struct{}{}:
	default:
	}
}

// directories tells whether there were events about directories since it was last asked.
func (ev *events) directories() bool { return ev.isDir.Swap(false) }

// established takes what the watching program says for people; that it has begun counts as an event.
func (ev *events) established() io.Writer {
	var last []byte
	return writerFunc(func(b []byte) (int, error) {
		if seen(&last, b, "Watches established") {
			ev.happen()
		}
		return len(b), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// seen tells whether a word is in a stream's next piece, or across its border with the one before. last keeps the end
// of that.
func seen(last *[]byte, b []byte, word string) bool {
	border := append(*last, b[:min(len(b), len(word)-1)]...)
	found := bytes.Contains(border, []byte(word)) || bytes.Contains(b, []byte(word))
	tail := append(*last, b[max(0, len(b)-len(word)+1):]...)
	*last = bytes.Clone(tail[max(0, len(tail)-len(word)+1):])
	return found
}

// await returns when something has happened and it is quiet again, after wait, or when the watch has ended, which makes
// alive false. The error is that of ctx.
func (ev *events) await(ctx context.Context, ended <-chan struct{}, wait time.Duration) (alive bool, err error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var burst <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-ended:
			return false, nil
		case <-burst:
			return true, nil
		case <-timer.C:
			return true, nil
		case <-ev.happened:
			if burst == nil {
				burst = time.After(longestWait)
			}
			timer.Reset(quiet)
		}
	}
}
