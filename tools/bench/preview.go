package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// previewed is how many files change before what changed is asked for.
const previewed = 50_000

// manyFiles makes them, in folders of a hundred.
const manyFiles = `mkdir -p workspace/many && cd workspace/many && exec python3 -c '
import os
for d in range(500):
    os.mkdir("d%d" % d)
    for f in range(100):
        with open("d%d/f%d" % (d, f), "w") as x: x.write("x")
'`

// searching is what one would type instead: two searches at once, of the home and of the rest, that print the names.
const searching = `find / -xdev -path "$HOME" -prune -o -newerct "@%[1]d" -print >/dev/null 2>&1 &
find "$HOME" -xdev -newerct "@%[1]d" -print | wc -l; wait`

// previews measures how soon is told what a rollback would undo.
func (s *snapshotBench) previews(ctx context.Context) error {
	w := s.main
	if _, _, err := s.c.run(ctx, "start", w.name); err != nil { // another part may have stopped it
		return err
	}
	t, err := w.take(ctx, cold)
	if err != nil {
		return err
	}
	since, err := w.ssh(ctx, "date +%s")
	if err != nil {
		return err
	}
	var at int64
	if _, err := fmt.Sscan(since, &at); err != nil {
		return fmt.Errorf("reading the guest's clock: %w", err)
	}
	if _, err := w.ssh(ctx, manyFiles); err != nil {
		return err
	}
	for i := 0; s.again(i); i++ {
		if err := s.preview(ctx, w, t, at); err != nil {
			return err
		}
	}
	if _, err := w.ssh(ctx, "rm -rf workspace/many"); err != nil {
		return err
	}
	return w.forget(ctx, t)
}

// diff asks what a rollback would undo, and sees that the answer is right.
func (s *snapshotBench) diff(ctx context.Context, w workspace, t taken) (time.Duration, error) {
	out, took, err := s.c.run(ctx, "snapshot", "diff", w.name, "--from", t.id, "--json")
	if err != nil {
		return 0, err
	}
	var answer struct {
		Changes struct {
			Yours struct {
				Files int `json:"files"`
			} `json:"yours"`
		} `json:"changes"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return 0, fmt.Errorf("reading what changed: %w", err)
	}
	if answer.Changes.Yours.Files < previewed {
		return 0, fmt.Errorf("%d files are said to have changed, and %d did", answer.Changes.Yours.Files, previewed)
	}
	return took, nil
}

func (s *snapshotBench) preview(ctx context.Context, w workspace, t taken, since int64) error {
	took, err := s.diff(ctx, w, t)
	if err != nil {
		return err
	}
	began := time.Now()
	found, err := w.ssh(ctx, fmt.Sprintf(searching, since))
	if err != nil {
		return err
	}
	s.got.preview = append(s.got.preview, took.Seconds())
	s.got.find = append(s.got.find, time.Since(began).Seconds())
	var names int
	if _, err := fmt.Sscan(found, &names); err != nil || names < previewed {
		return fmt.Errorf("find says %q", found)
	}
	s.b.progress("preview of %d files: %.2f s; find over ssh: %.2f s", previewed, took.Seconds(), last(s.got.find))
	return nil
}
