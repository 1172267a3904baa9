package netlog

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// maxLine bounds a line that is read.
const maxLine = 64 << 10

// Read calls each with the entries of a workspace's log, oldest first, until it returns false. No log is no entries.
func Read(dir, workspace string, each func(Entry) bool) error {
	for n := keepOld; n >= 0; n-- {
		name := file(dir, workspace)
		if n > 0 {
			name = oldFile(dir, workspace, n)
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the network log: %w", err)
		}
		more, err := readLines(f, each)
		_ = f.Close()
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// readLines reads whole lines; one that is none of this package's is skipped.
func readLines(r io.Reader, each func(Entry) bool) (more bool, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e Entry
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Workspace != "" && !each(e) {
			return false, nil
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return false, fmt.Errorf("reading the network log: %w", err)
	}
	return true, nil
}

// lookEvery is how often a log that is followed is looked at.
const lookEvery = 200 * time.Millisecond

// Follow calls each with the entries that are written from now on, until ctx ends.
func Follow(ctx context.Context, dir, workspace string, each func(Entry)) error {
	var f *os.File
	defer func() {
		if f != nil {
			_ = f.Close()
		}
	}()
	first := true
	var torn []byte
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if f == nil {
			var err error
			if f, err = os.Open(file(dir, workspace)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("following the network log: %w", err)
			}
			if f != nil && first {
				if _, err := f.Seek(0, io.SeekEnd); err != nil {
					return fmt.Errorf("following the network log: %w", err)
				}
			}
			torn = nil
		}
		first = false
		if f != nil {
			data, err := io.ReadAll(io.LimitReader(f, maxFile))
			if err != nil {
				return fmt.Errorf("following the network log: %w", err)
			}
			torn = tell(append(torn, data...), each) // a line may come in two
			if now, err := os.Stat(file(dir, workspace)); len(data) == 0 && !sameFile(f, now, err) {
				_ = f.Close()
				f = nil
				continue
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func sameFile(f *os.File, now fs.FileInfo, err error) bool {
	own, oerr := f.Stat()
	return err == nil && oerr == nil && os.SameFile(own, now)
}

// tell tells of the whole lines in data and returns what is left.
func tell(data []byte, each func(Entry)) []byte {
	end := len(data)
	for end > 0 && data[end-1] != '\n' {
		end--
	}
	_, _ = readLines(bytes.NewReader(data[:end]), func(e Entry) bool {
		each(e)
		return true
	})
	if len(data)-end > maxLine {
		return nil
	}
	return slices.Clone(data[end:])
}

// Use is what one name was used for.
type Use struct {
	Host        string    `json:"host"`
	Connections int       `json:"connections"`
	Refused     int       `json:"refused"`
	BytesUp     int64     `json:"up"`
	BytesDown   int64     `json:"down"`
	Last        time.Time `json:"last"`
}

// Top sums entries up by name: those with the most bytes first, then those with the most connections and refusals.
func Top(entries []Entry) []Use {
	byHost := map[string]*Use{}
	for i := range entries {
		e := &entries[i]
		u := byHost[e.Host]
		if u == nil {
			u = &Use{Host: e.Host}
			byHost[e.Host] = u
		}
		if e.Allowed {
			u.Connections += e.Times()
		} else {
			u.Refused += e.Times()
		}
		u.BytesUp += e.BytesUp
		u.BytesDown += e.BytesDown
		if e.Time.After(u.Last) {
			u.Last = e.Time
		}
	}
	uses := make([]Use, 0, len(byHost))
	for _, u := range byHost {
		uses = append(uses, *u)
	}
	slices.SortFunc(uses, func(a, b Use) int {
		return cmp.Or(cmp.Compare(b.BytesUp+b.BytesDown, a.BytesUp+a.BytesDown), cmp.Compare(b.Connections, a.Connections),
			cmp.Compare(b.Refused, a.Refused), cmp.Compare(a.Host, b.Host))
	})
	return uses
}
