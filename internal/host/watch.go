package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	clockCheck = 3 * time.Second // how often the clocks are compared
	clockJump  = 5 * time.Second // difference from which on the computer is taken to have slept
	// settle is how long a network must be quiet to be taken for changed: an interface that comes up is told of many times.
	settle = 500 * time.Millisecond
	// restless is how long a network may go on changing before it is told of all the same.
	restless = 5 * time.Second
)

// Watch tells of what a program can know without a desktop, until ctx ends: changes of the network; a sleep that shows in
// the clocks; on Linux, what logind announces. What cannot be watched is told to trouble, and the rest goes on.
func Watch(ctx context.Context, env func(string) string, tell func(Event), trouble func(error)) {
	var all sync.WaitGroup
	all.Go(func() {
		began := time.Now()
		watchClocks(ctx, func() (time.Time, time.Duration) { now := time.Now(); return now.Round(0), now.Sub(began) }, tell)
	})
	all.Go(func() {
		if err := watchNetwork(ctx, tell); err != nil && ctx.Err() == nil {
			trouble(err)
		}
	})
	all.Go(func() {
		if err := watchSystem(ctx, env, tell); err != nil && ctx.Err() == nil {
			trouble(err)
		}
	})
	all.Wait()
}

// watchClocks tells of sleeps by the wall clock, which goes on meanwhile, and the other one, which does not.
func watchClocks(ctx context.Context, now func() (wall time.Time, awake time.Duration), tell func(Event)) {
	ticker := time.NewTicker(clockCheck)
	defer ticker.Stop()
	wall, awake := now()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		w, a := now()
		if w.Sub(wall)-(a-awake) > clockJump {
			tell(DidWake)
		}
		wall, awake = w, a
	}
}

// watchNetwork tells of changes of the host's interfaces and addresses.
func watchNetwork(ctx context.Context, tell func(Event)) error {
	f, err := routes()
	if err != nil {
		return fmt.Errorf("watching the network: %w", err)
	}
	return follow(ctx, f, changesNetwork, tell)
}

// follow reads messages until ctx ends and tells of the network once those that count have settled.
func follow(ctx context.Context, f io.ReadCloser, counts func([]byte) bool, tell func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer func() {
		if stop() {
			_ = f.Close()
		}
	}()
	messages := make(chan struct{}, 1)
	go func() {
		var first time.Time
		quiet := time.NewTimer(settle)
		quiet.Stop()
		for {
			select {
			case <-messages:
				if first.IsZero() {
					first = time.Now()
				}
				if time.Since(first) < restless {
					quiet.Reset(settle)
				}
			case <-quiet.C:
				first = time.Time{}
				tell(NetworkChanged)
			case <-ctx.Done():
				quiet.Stop()
				return
			}
		}
	}()
	buffer := make([]byte, os.Getpagesize())
	for {
		n, err := f.Read(buffer)
		switch {
		case ctx.Err() != nil:
			return nil
		case overrun(err): // more happened than the socket holds, so something did
			n = 0
		case err != nil:
			return fmt.Errorf("watching the network: %w", err)
		}
		if n == 0 || counts(buffer[:n]) {
			select {
			case messages <- struct{}{}:
			default:
			}
		}
	}
}
