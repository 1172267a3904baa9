package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// watchedFiles is how many files are written one after the other while the outbox is watched.
const watchedFiles = 40

// latency has files written on the server while their outbox, with all of the many files in it, is watched.
func (o *outboxBench) latency(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	dest, err := o.fresh()
	if err != nil {
		return err
	}
	dir := o.source + "/many"
	order := outboxOrder{From: o.from, Dir: dir, Dest: dest, State: dest + ".state", Helper: o.helper, Watch: true}
	cmd := order.command(ctx, o.self)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	answers := bufio.NewScanner(stdout)
	for range treeFiles {
		if !answers.Scan() {
			return fmt.Errorf("watching: it ended before all had landed: %w", ctx.Err())
		}
	}
	w, err := o.peer.writer(ctx)
	if err != nil {
		return err
	}
	var took []float64
	for i := range watchedFiles {
		name := fmt.Sprintf("watched-%d", i)
		closed, err := w.write(dir, name)
		if err != nil {
			return err
		}
		var a outboxAnswer
		if !answers.Scan() {
			return fmt.Errorf("watching: it ended: %w", ctx.Err())
		}
		if err := json.Unmarshal(answers.Bytes(), &a); err != nil || a.Name != name {
			return fmt.Errorf("watching: %q has landed, not %s: %w", a.Name, name, err)
		}
		took = append(took, milliseconds(a.At.Sub(closed)))
	}
	if err := w.close(); err != nil {
		return err
	}
	if err := stdin.Close(); err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	o.b.add(Figure{
		Name: "file closed to landed, p95, " + o.where, Value: percentile(took, 95), Unit: "ms", Target: &Target{Max: 300},
		Note: fmt.Sprintf("p50 %s; %d files of %d KiB among %d, from the server's word that it is closed",
			number(percentile(took, 50)), watchedFiles, artifactSize>>10, treeFiles),
	})
	return nil
}
