package sync

import (
	"context"
	gosync "sync"
	"time"
)

// How a watched outbox is looked at. A file that is still open is never taken, so quiet only has to bundle bursts.
const (
	quiet       = 100 * time.Millisecond // after the last event, before a pass
	quietTold   = 20 * time.Millisecond  // the same, where it is told what has changed
	longestWait = time.Second            // for quiet, in a burst that does not end
	pollEvery   = 2 * time.Second        // while the guest cannot watch
	watchFor    = 10 * time.Minute       // without an event; then the outbox is looked at, whatever was missed
	firstRetry  = 250 * time.Millisecond // for what was still being written; doubled up to lastRetry
	lastRetry   = 4 * time.Second
)

// Watch brings in what the guest puts into its outbox as it comes, until ctx ends or the connection dies; the error
// tells which. onReport is called after a pass that landed something, and for refusals not met before; onProgress as
// Once's; each may be nil. A guest that cannot watch its outbox is asked every two seconds instead.
func Watch(ctx context.Context, t Transport, o Options, onReport func(Report), onProgress func(Progress)) error {
	e, err := open(t, o, onProgress)
	if err != nil {
		return err
	}
	defer e.close()
	flushing := newFlusher(e.o)
	var running gosync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { flushing.run(ctx) })
	if onReport == nil {
		onReport = func(Report) {}
	}
	for {
		// A guest whose watches end at once, for want of the program or of the directory, is polled at this pace.
		pace := time.NewTimer(pollEvery)
		if err := e.watch(ctx, flushing, onReport); err != nil {
			pace.Stop()
			return err
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			pace.Stop()
			return ctx.Err()
		}
	}
}

// watch makes a pass at the start of a watch in the guest, and one after each burst of news until the watch ends. That
// it has ended is no error: the next pass tells whether the connection lives.
func (e *engine) watch(ctx context.Context, flushing *flusher, onReport func(Report)) error {
	ctx, cancel := context.WithCancel(ctx)
	m := newMirror(e.o)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.t.Watch(ctx, m.take) // without it the outbox is looked at all the same
	}()
	defer func() {
		cancel()
		<-ended
	}()
	// Changes made before the watch stands are seen by the pass that follows its first word.
	alive, err := m.await(ctx, ended, pollEvery)
	if err != nil {
		return err
	}
	var root uint64
	for first, retry := true, firstRetry; ; first = false {
		live := false
		report, err := e.pass(ctx, func(ctx context.Context) (l Listing, mirrored bool, err error) {
			if l, live = m.listing(); live {
				return l, true, nil
			}
			return e.list(ctx)
		})
		if len(report.Landed) > 0 {
			flushing.add(report.Landed)
		}
		if len(report.Landed) > 0 || len(report.New) > 0 {
			report.Refused = report.New
			onReport(report)
		}
		if err != nil {
			return err
		}
		if !alive || !live && (e.last.Root == nil || !first && e.last.Root.Inode != root) {
			return nil // there is no watch, or it is not on what is the outbox now
		}
		if m.short() {
			return nil // what was beyond the limits may be within them by now, and only a new watch lists it
		}
		if e.last.Root != nil {
			root = e.last.Root.Inode
		}
		wait := watchFor
		switch {
		case report.Waiting > 0:
			if wait, retry = retry, min(2*retry, lastRetry); wait == lastRetry {
				m.relist() // it may wait for what was never told
			}
		case m.directories():
			wait = firstRetry // what was put into a directory before it was watched has given no event
			fallthrough
		default:
			retry = firstRetry
		}
		if alive, err = m.await(ctx, ended, wait); err != nil {
			return err
		}
	}
}
