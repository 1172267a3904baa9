package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// ticking prints a character every few milliseconds. It writes no file, so that it does not wait for a frozen disk,
	// and starts no program, so that an emulated guest keeps the pace.
	ticking = `exec perl -e '$|=1; for(;;){print "."; select(undef,undef,undef,0.004)}'`
	// watched is how long the ticks are looked at before what is measured: how long the gaps are anyway.
	watched = 3 * time.Second
	// tickWait bounds the wait for a guest to tick again. A machine that is stopped longer is an error, not a figure.
	tickWait = time.Minute
)

// heartbeat is a program in a guest that prints all the time, over one connection that is held.
type heartbeat struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	times []time.Time // when something came in, by this host's clock
}

func startHeartbeat(cmd *exec.Cmd) (*heartbeat, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("watching the guest: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watching the guest: %w", err)
	}
	t := &heartbeat{cmd: cmd, done: make(chan struct{})}
	go t.read(out)
	return t, nil
}

func (t *heartbeat) read(from io.Reader) {
	defer close(t.done)
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		now := time.Now()
		if n > 0 {
			t.mu.Lock()
			t.times = append(t.times, now)
			t.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// await returns when the guest has ticked n times after a moment.
func (t *heartbeat) await(ctx context.Context, after time.Time, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, tickWait, fmt.Errorf("it did not tick for %s", tickWait))
	defer cancel()
	for {
		t.mu.Lock()
		i, _ := slices.BinarySearchFunc(t.times, after, time.Time.Compare)
		came := len(t.times) - i
		t.mu.Unlock()
		if came >= n {
			return nil
		}
		select {
		case <-t.done:
			return errors.New("watching the guest: the connection ended")
		default:
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("watching the guest: %w", context.Cause(ctx))
		}
	}
}

// pauseOf does something and returns how long the guest stood still meanwhile, and how long it seemed to before, when
// nothing was done: what of a pause is the machine's mood.
func (t *heartbeat) pauseOf(ctx context.Context, do func() error) (pause, mood time.Duration, err error) {
	if err := t.await(ctx, time.Now(), 10); err != nil { // its first ticks wait for the program to be loaded
		return 0, 0, err
	}
	watching := time.Now()
	if err := wait(ctx, watched); err != nil {
		return 0, 0, err
	}
	from := time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	to := time.Now()
	if err := t.await(ctx, to, 2); err != nil {
		return 0, 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	usual := usualGap(t.times, watching, from)
	return max(0, longestGap(t.times, from, to)-usual), max(0, longestGap(t.times, watching, from)-usual), nil
}

func (t *heartbeat) stop() {
	_ = t.cmd.Process.Kill()
	<-t.done
	_ = t.cmd.Wait() // it was killed
}

// longestGap returns the longest time without a tick that reaches into from..to. What is before the first tick and after
// the last is no gap.
func longestGap(times []time.Time, from, to time.Time) time.Duration {
	longest := time.Duration(0)
	for i := 1; i < len(times); i++ {
		if times[i].After(from) && times[i-1].Before(to) {
			longest = max(longest, times[i].Sub(times[i-1]))
		}
	}
	return longest
}

// usualGap returns the median of the gaps that lie within from..to, 0 if there are none.
func usualGap(times []time.Time, from, to time.Time) time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(times); i++ {
		if !times[i-1].Before(from) && !times[i].After(to) {
			gaps = append(gaps, times[i].Sub(times[i-1]))
		}
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// memoryInUse returns how much of a guest's memory holds something, in MiB, from its /proc/meminfo. What it caches of its
// disk counts: it must be saved as well.
func memoryInUse(meminfo string) (int, error) {
	kib := func(name string) (int, error) {
		n, err := strconv.Atoi(strings.TrimSuffix(field(meminfo, name), " kB"))
		if err != nil {
			return 0, fmt.Errorf("reading the guest's memory: %w", err)
		}
		return n, nil
	}
	total, err := kib("MemTotal")
	if err != nil {
		return 0, err
	}
	free, err := kib("MemFree")
	return (total - free) >> 10, err
}

// fillMemory has a guest hold random bytes until about this many MiB of its memory are in use, and returns how many are.
func (p sshPeer) fillMemory(ctx context.Context, target int) (int, error) {
	inUse := func() (int, error) {
		text, err := p.output(ctx, "cat /proc/meminfo")
		if err != nil {
			return 0, err
		}
		return memoryInUse(text)
	}
	used, err := inUse()
	if err != nil || used >= target {
		return used, err
	}
	// A tmpfs keeps what is written in memory. It is as large as half of the memory.
	if _, err := p.output(ctx, fmt.Sprintf("head -c %dM /dev/urandom >/dev/shm/bench-fill", target-used)); err != nil {
		return 0, err
	}
	return inUse()
}

// rewriting changes every page of so many MiB over and over, and says when it has begun.
const rewriting = `exec perl -e '$|=1; $d="x"; $d x= %d<<20; print "ready\n";` +
	` for(;;){ $n++; for($i=0;$i<length $d;$i+=4096){ substr($d,$i,1)=chr($n&255) } }'`

// rewrite keeps a guest busy with changing its memory, until stop is called.
func (p sshPeer) rewrite(ctx context.Context, mib int) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	// With a terminal the program ends with its connection, though it never writes again.
	cmd := p.command(ctx, []string{"-tt"}, fmt.Sprintf(rewriting, mib))
	stop = func() {
		cancel()
		_ = cmd.Wait() // it was interrupted
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("keeping the guest's memory busy: %w", err)
	}
	if line, err := bufio.NewReader(io.LimitReader(out, 4096)).ReadString('\n'); !strings.HasPrefix(line, "ready") {
		stop()
		return nil, fmt.Errorf("keeping the guest's memory busy: it says %q: %w", line, err)
	}
	return stop, nil
}
