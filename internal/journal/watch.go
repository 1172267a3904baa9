package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watch calls changed once now and again after every append by any process, until ctx ends. Appends that come while
// changed runs are folded into one further call. It returns an error only if the directory cannot be watched.
func (j *Journal) Watch(ctx context.Context, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the journal: %w", err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Add(j.dir); err != nil {
		return fmt.Errorf("watching the journal: %w", err)
	}
	// Writers append a line in one write, so one event is one line; a short pause folds a burst into one reading.
	const pause = 30 * time.Millisecond
	changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, ok := <-w.Events:
			if !ok {
				return fmt.Errorf("watching the journal: the watcher ended")
			}
			if !ev.Has(fsnotify.Write) && !ev.Has(fsnotify.Create) {
				continue
			}
		case err := <-w.Errors:
			if err != nil {
				return fmt.Errorf("watching the journal: %w", err)
			}
		}
		t := time.NewTimer(pause)
	drain:
		for {
			select {
			case <-w.Events:
			case <-t.C:
				break drain
			case <-ctx.Done():
				t.Stop()
				return nil
			}
		}
		changed()
	}
}
