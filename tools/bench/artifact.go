package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	artifacts    = 6
	artifactSize = 64 << 10 // bytes
	// artifactEvery is how far they are apart: more within 15 seconds are told of together, when those are over
	// (app/bar.burstApart).
	artifactEvery = 16 * time.Second
	// arrival bounds the wait for one artifact.
	arrival = time.Minute
)

// writerScript writes a file of random bytes for each line (directory, name) and tells when it is closed.
const writerScript = `mkdir -p peer; while read -r dir name; do head -c 65536 /dev/urandom > "$dir/$name" && echo "$name"; done`

// writer writes files in the guest over one OpenSSH connection, so that no connecting is in the figures.
type writer struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	closed *bufio.Scanner
}

func (p sshPeer) writer(ctx context.Context) (*writer, error) {
	w := &writer{cmd: p.command(ctx, []string{"-T"}, writerScript)}
	var err error
	if w.orders, err = w.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("writing in the guest: %w", err)
	}
	answers, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("writing in the guest: %w", err)
	}
	w.closed = bufio.NewScanner(io.LimitReader(answers, 1<<20))
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("writing in the guest: %w", err)
	}
	return w, nil
}

// write returns when the news that the guest has closed the file came in.
func (w *writer) write(dir, name string) (time.Time, error) {
	if _, err := fmt.Fprintf(w.orders, "%s %s\n", dir, name); err != nil {
		return time.Time{}, fmt.Errorf("writing in the guest: %w", err)
	}
	if !w.closed.Scan() || w.closed.Text() != name {
		return time.Time{}, fmt.Errorf("writing in the guest: it answers %q: %w", w.closed.Text(),
			errors.Join(w.closed.Err(), io.ErrUnexpectedEOF))
	}
	return time.Now(), nil
}

func (w *writer) close() error {
	if err := errors.Join(w.orders.Close(), w.cmd.Wait()); err != nil {
		return fmt.Errorf("ending the writer in the guest: %w", err)
	}
	return nil
}

// measureArtifacts has the guest write files, and sees them land and be notified while an agent looks after the guest.
// The agent has a desktop of its own to notify: a private D-Bus with nothing on it but this program.
func measureArtifacts(ctx context.Context, b *bench, c *cal) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	desk, err := newInbox(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, desk.close()) }()
	end, _, err := c.startAgent(ctx, "DISPLAY=:bench", "DBUS_SESSION_BUS_ADDRESS="+desk.address)
	if err != nil {
		return err
	}
	defer end()
	guest, err := c.openSSH(ctx, fast)
	if err != nil {
		return err
	}
	w, err := guest.writer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	var landed, notified, copied []float64
	for i := range artifacts + 1 {
		name := fmt.Sprintf("artifact-%d.bin", i)
		there, told, err := c.artifact(ctx, w, desk, name)
		if err != nil {
			return err
		}
		apart := time.NewTimer(artifactEvery)
		peer, err := c.rsync(ctx, guest, w, name)
		if err != nil {
			return err
		}
		if i > 0 { // the first also waits for the agent's connection to the guest
			landed, notified, copied = append(landed, there), append(notified, told), append(copied, peer)
		}
		select {
		case <-apart.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	host := fmt.Sprintf("%d files of %d KiB, p95 %s ms; from the guest's word over an open ssh that it closed the file, "+
		"nothing subtracted", artifacts, artifactSize>>10, "%s")
	b.add(Figure{
		Name: "file closed in guest to landed", Value: percentile(landed, 50), Unit: "ms",
		Note: fmt.Sprintf(host, number(percentile(landed, 95))) + "; peer p95 " + number(percentile(copied, 95)) +
			" ms, run by hand right after the file closed",
	}.against("rsync -a -e ssh", percentile(copied, 50)))
	b.add(Figure{
		Name: "file closed in guest to notification", Value: percentile(notified, 50), Unit: "ms", Target: &Target{Max: 1000},
		Note: fmt.Sprintf(host, number(percentile(notified, 95))) + "; as received by a D-Bus notification service; " +
			"each a burst of its own, of whose end 300 ms tell",
	})
	return nil
}

// artifact has the guest put a file into its outbox and returns how long after its closing it was on the host and
// notified, in milliseconds.
func (c *cal) artifact(ctx context.Context, w *writer, desk *inbox, name string) (landed, notified float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	closed, err := w.write("output", name)
	if err != nil {
		return 0, 0, err
	}
	told, err := desk.await(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	// It is notified after it has landed; when that was is the time at which the file got its name.
	info, err := os.Lstat(filepath.Join(c.dir, "landed", fast, name))
	if err != nil {
		return 0, 0, fmt.Errorf("looking for what was notified: %w", err)
	}
	return milliseconds(changed(info).Sub(closed)), milliseconds(told.Sub(closed)), nil
}

// rsync has the guest write the same amount elsewhere and copies that as a person would, once the file is closed.
func (c *cal) rsync(ctx context.Context, guest sshPeer, w *writer, name string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	closed, err := w.write("peer", name)
	if err != nil {
		return 0, err
	}
	shell := strings.Join(append([]string{"ssh"}, guest.args...), " ") // no argument has a blank in it
	dest := filepath.Join(c.dir, "copied")
	out, err := exec.CommandContext(ctx, "rsync", "-a", "-e", shell, guest.target+":peer/", dest+"/").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("copying by rsync: %w: %s", err, lastLines(string(out), 3))
	}
	took := time.Since(closed)
	if info, err := os.Stat(filepath.Join(dest, name)); err != nil || info.Size() != artifactSize {
		return 0, fmt.Errorf("copying by rsync: %s is not there as written", name)
	}
	return milliseconds(took), nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
