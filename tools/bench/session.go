package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The sizes of what is printed, in bytes: on this host, and in a guest whose processor may be emulated.
const (
	hostFlood  = 100 << 20
	guestFlood = 4 << 20
)

const keysTyped = 400

// sessions measures what stands between a person and the agent: CALMenu's client with its banner, beside `ssh -t`, both
// into the same server in turns. Neither has a tmux here, since it is the guest's and the same for both.
func sessions(ctx context.Context, b *bench) (err error) {
	dir, err := os.MkdirTemp("", "calmenu-bench-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	l, err := startLoopback(ctx, dir)
	if err != nil {
		return err
	}
	defer l.stop()
	peer, err := l.peer()
	if err != nil {
		return err
	}
	onHost := duel{
		where: "loopback sshd", size: hostFlood,
		ours: func(ctx context.Context, remote string) *exec.Cmd { return l.ours().command(ctx, self, remote) },
		ssh:  func(ctx context.Context, remote string) *exec.Cmd { return peer.command(ctx, []string{"-tt"}, remote) },
		put:  func(_ context.Context, name string) (string, error) { return filepath.Join(dir, name), nil },
	}
	failed := onHost.measure(ctx, b, dir)
	return errors.Join(failed, sessionInGuest(ctx, b, self))
}

// sessionInGuest is the same against a workspace's guest.
func sessionInGuest(ctx context.Context, b *bench, self string) (err error) {
	c, err := newCAL(b)
	if err != nil {
		return err
	}
	var made []string
	defer func() { err = errors.Join(err, c.remove(made...)) }()
	made = append(made, fast)
	if err := c.create(ctx, fast, ""); err != nil {
		return err
	}
	if _, _, err := c.run(ctx, "start", fast); err != nil {
		return err
	}
	peer, err := c.openSSH(ctx, fast)
	if err != nil {
		return err
	}
	at, err := c.endpoint(ctx, fast)
	if err != nil {
		return err
	}
	inGuest := duel{
		where: "guest", size: guestFlood,
		ours: func(ctx context.Context, remote string) *exec.Cmd { return at.command(ctx, self, remote) },
		ssh:  func(ctx context.Context, remote string) *exec.Cmd { return peer.command(ctx, []string{"-tt"}, remote) },
		put: func(ctx context.Context, name string) (string, error) {
			f, err := os.Open(filepath.Join(c.dir, name))
			if err != nil {
				return "", fmt.Errorf("reading what is to be printed: %w", err)
			}
			defer func() { _ = f.Close() }()
			put := peer.command(ctx, nil, "cat >/tmp/"+name)
			put.Stdin = f
			if out, err := put.CombinedOutput(); err != nil {
				return "", fmt.Errorf("putting a file into the guest: %w: %s", err, out)
			}
			return "/tmp/" + name, nil
		},
	}
	return inGuest.measure(ctx, b, c.dir)
}

// duel puts CALMenu's client and ssh into the same server.
type duel struct {
	where     string
	size      int
	ours, ssh func(ctx context.Context, remote string) *exec.Cmd
	// put brings a file of the directory to the server and returns its path there.
	put func(ctx context.Context, name string) (string, error)
}

func (d duel) measure(ctx context.Context, b *bench, dir string) error {
	for _, kind := range []string{"text", "colour"} {
		if err := writeFlood(filepath.Join(dir, kind), d.size, kind == "colour"); err != nil {
			return fmt.Errorf("writing what is to be printed: %w", err)
		}
		file, err := d.put(ctx, kind)
		if err != nil {
			return err
		}
		if err := d.throughput(ctx, b, kind, file); err != nil {
			return fmt.Errorf("printing %s, %s: %w", kind, d.where, err)
		}
	}
	if err := d.latency(ctx, b); err != nil {
		return fmt.Errorf("typing, %s: %w", d.where, err)
	}
	return nil
}

func (d duel) throughput(ctx context.Context, b *bench, kind, file string) error {
	var ours, ssh, oursCPU, sshCPU []float64
	for i := range 2*b.runs + 1 { // in turns, and neither always first
		var o, s flood
		measure := []func() error{
			func() (err error) { o, err = measureFlood(d.ours(ctx, flooding(file))); return err },
			func() (err error) { s, err = measureFlood(d.ssh(ctx, flooding(file))); return err },
		}
		if err := errors.Join(measure[i%2](), measure[(i+1)%2]()); err != nil {
			return err
		}
		ours, ssh = append(ours, o.seconds), append(ssh, s.seconds)
		oursCPU, sshCPU = append(oursCPU, o.processor), append(sshCPU, s.processor)
		b.progress("%s, %s: %.2f s, ssh %.2f s", kind, d.where, o.seconds, s.seconds)
	}
	what := fmt.Sprintf("%d MiB of %s, %s", d.size>>20, kind, d.where)
	// A throughput of at least 0.9 of ssh's is a time of at most 1/0.9.
	b.add(Figure{
		Name: what, Value: median(ours), Unit: "s", Target: &Target{Max: 1.11, OfRatio: true},
		Note: spread(ours) + "; peer " + spread(ssh),
	}.against("ssh -t", median(ssh)))
	b.add(Figure{
		Name: what + ": processor time of the client", Value: median(oursCPU), Unit: "s",
		Note: spread(oursCPU) + "; peer " + spread(sshCPU),
	}.against("ssh -t", median(sshCPU)))
	return nil
}

func (d duel) latency(ctx context.Context, b *bench) error {
	var ours, ssh []float64
	for range b.runs {
		times, err := measureKeys(ctx, keysTyped, d.ssh(ctx, echoing), d.ours(ctx, echoing))
		if err != nil {
			return err
		}
		ssh, ours = append(ssh, times[0]...), append(ours, times[1]...)
	}
	note := fmt.Sprintf("p50 %.2f, peer p50 %.2f; %d keys", percentile(ours, 50), percentile(ssh, 50), len(ours))
	b.add(Figure{
		Name: "a key's way there and back, p99, " + d.where, Value: percentile(ours, 99), Unit: "ms", Note: note,
	}.against("ssh -t", percentile(ssh, 99)))
	b.add(Figure{
		Name: "added to a key, p99, " + d.where, Unit: "ms", Target: &Target{Max: 2},
		Value: max(0, percentile(ours, 99)-percentile(ssh, 99)), Note: "difference of the two p99",
	})
	return nil
}
