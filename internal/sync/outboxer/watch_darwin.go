package outboxer

import (
	"context"
	"time"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

// lookAgain is how often the outbox is listed: kqueue needs a descriptor for every file, FSEvents a run loop and cgo.
const lookAgain = time.Second

// watch tells all there is, again and again, until ctx ends.
func (s *server) watch(ctx context.Context) {
	for ctx.Err() == nil && s.out.failed() == nil {
		s.out.frame(wire.Reset, nil)
		l := newLister(s, wire.Watched)
		l.end(l.run("", nil))
		s.out.flush()
		timer := time.NewTimer(lookAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}
