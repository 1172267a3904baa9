package guest

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// patient is a guest in a bubble's time.
type patient struct {
	mu     sync.Mutex
	last   time.Time // when something came from it
	takes  time.Duration
	frozen chan struct{} // closed when it goes on; nil: it does not stand still
	asked  int
}

func (g *patient) heard() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

func (g *patient) says() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = time.Now()
}

func (g *patient) freeze() (thaw func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	frozen := make(chan struct{})
	g.frozen = frozen
	return func() {
		g.mu.Lock()
		g.frozen = nil
		g.mu.Unlock()
		close(frozen)
	}
}

func (g *patient) ask(ctx context.Context) error {
	g.mu.Lock()
	g.asked++
	frozen, takes := g.frozen, g.takes
	g.mu.Unlock()
	if frozen != nil {
		select {
		case <-frozen:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !sleep(ctx, takes) {
		return ctx.Err()
	}
	g.says()
	return nil
}

// word is what was told, and when, since the beginning.
type word struct {
	at     time.Duration
	silent bool
}

// watched tells what is told of a guest while f happens to it.
func watched(t *testing.T, g *patient, f func()) (told []word) {
	t.Helper()
	begun := time.Now()
	g.last = begun
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pulse{heard: g.heard, ask: g.ask}.watch(ctx, func(since time.Time) {
			if now := time.Now(); !since.IsZero() && (since.Before(begun) || since.After(now)) {
				t.Errorf("at %v it is said to be silent since %v", now, since)
			}
			told = append(told, word{time.Since(begun), !since.IsZero()})
		})
	}()
	f()
	synctest.Wait()
	cancel()
	<-ended
	return told
}

func TestPulse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		takes   time.Duration // to answer
		happens func(g *patient)
		want    []word
		asked   int // at most
	}{
		{
			name: "at rest", takes: 10 * time.Millisecond, asked: 200,
			happens: func(*patient) { time.Sleep(time.Minute) },
		},
		{
			name: "busy with data, answers late", takes: time.Minute, asked: 1,
			happens: func(g *patient) {
				time.Sleep(600 * time.Millisecond)
				for range 100 {
					g.says()
					time.Sleep(400 * time.Millisecond)
				}
			},
		},
		{
			name: "talks", takes: 10 * time.Millisecond, asked: 0,
			happens: func(g *patient) {
				for range 100 {
					g.says()
					time.Sleep(200 * time.Millisecond)
				}
			},
		},
		{
			name: "stands still", asked: 30,
			happens: func(g *patient) {
				time.Sleep(4250 * time.Millisecond)
				thaw := g.freeze()
				time.Sleep(10 * time.Second)
				thaw()
				time.Sleep(4 * time.Second)
			},
			want: []word{{5100 * time.Millisecond, true}, {14250 * time.Millisecond, false}},
		},
		{
			name: "speaks, but does not answer", takes: time.Hour, asked: 1,
			happens: func(g *patient) {
				time.Sleep(5020 * time.Millisecond)
				g.says()
				time.Sleep(2 * time.Second)
			},
			want: []word{{900 * time.Millisecond, true}, {5100 * time.Millisecond, false}, {5620 * time.Millisecond, true}},
		},
		{
			name: "stands still again and again", asked: 40,
			happens: func(g *patient) {
				for range 3 {
					time.Sleep(1250 * time.Millisecond)
					thaw := g.freeze()
					time.Sleep(3770 * time.Millisecond)
					thaw()
				}
			},
			want: []word{
				{2100 * time.Millisecond, true},
				{5020 * time.Millisecond, false},
				{7120 * time.Millisecond, true},
				{10040 * time.Millisecond, false},
				{12140 * time.Millisecond, true},
				{15060 * time.Millisecond, false},
			},
		},
		{
			name: "becomes slow: the first time it is a surprise", takes: 900 * time.Millisecond, asked: 50,
			happens: func(*patient) { time.Sleep(time.Minute) },
			want:    []word{{900 * time.Millisecond, true}, {1200 * time.Millisecond, false}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &patient{takes: tt.takes}
				if got := watched(t, g, func() { tt.happens(g) }); !slices.Equal(got, tt.want) {
					t.Errorf("told %v, want %v", got, tt.want)
				}
				if g.asked > tt.asked {
					t.Errorf("asked %d times, want at most %d", g.asked, tt.asked)
				}
			})
		})
	}
}

func TestPulseEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		g := &patient{last: time.Now()}
		close(done)
		pulse{heard: g.heard, ask: g.ask, done: done}.watch(t.Context(), func(since time.Time) {
			t.Errorf("silent since %v", since)
		})
	})
}

// A guest's server that stands still is silent, one that goes on is not, over the same connection.
func TestSilence(t *testing.T) {
	s := startSSHD(t)
	c := s.connect()
	told := make(chan bool, 64)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.WatchSilence(ctx, func(since time.Time) { told <- !since.IsZero() })
	}()
	for range 2 {
		s.signal(syscall.SIGSTOP)
		for !wait(t, "silence", told) { // a busy machine may be silent before
		}
		s.signal(syscall.SIGCONT)
		for wait(t, "an answer", told) {
		}
	}
	must(t, c.Err())
	must(t, c.Ping(t.Context()))
	cancel()
	wait(t, "the watch to end", ended)
}
