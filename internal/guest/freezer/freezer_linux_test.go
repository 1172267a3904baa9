package freezer

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// disk is a file system that remembers what was done to it.
type disk struct {
	mu       sync.Mutex
	done     []string
	refuses  error // to freeze
	isFrozen bool
}

func (d *disk) freeze() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, "freeze")
	d.isFrozen = d.refuses == nil
	return d.refuses
}

func (d *disk) thaw() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, "thaw")
	if !d.isFrozen {
		return errThawed
	}
	d.isFrozen = false
	return nil
}

func (d *disk) arm() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, "arm")
	return nil
}

func (d *disk) frozen() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.isFrozen
}

func TestServe(t *testing.T) {
	for name, x := range map[string]struct {
		in   string
		out  string
		done []string
	}{
		"all":            {"freeze\nthaw\n", "ready\nfrozen\nthawed\n", []string{"arm", "freeze", "thaw"}},
		"input ends":     {"freeze\n", "ready\nfrozen\nthawed\n", []string{"arm", "freeze", "thaw"}},
		"another word":   {"freeze\nx", "ready\nfrozen\nthawed\n", []string{"arm", "freeze", "thaw"}},
		"given up":       {"", "ready\n", nil},
		"nothing it can": {"thaw\nfreeze\n", "ready\n", nil},
	} {
		d := &disk{}
		var out strings.Builder
		if err := serve(t.Context(), strings.NewReader(x.in), &out, d, d.arm); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if out.String() != x.out || !slices.Equal(d.done, x.done) {
			t.Errorf("%s: it said %q, and did %q", name, out.String(), d.done)
		}
	}
}

func TestServeFails(t *testing.T) {
	d := &disk{refuses: errors.New("busy")}
	var out strings.Builder
	err := serve(t.Context(), strings.NewReader("freeze\nthaw\n"), &out, d, d.arm)
	if !errors.Is(err, d.refuses) || out.String() != "ready\n" || slices.Contains(d.done, "thaw") {
		t.Errorf("%v, said %q, did %q", err, out.String(), d.done)
	}
	d, failure := &disk{}, errors.New("the watcher is gone")
	err = serve(t.Context(), strings.NewReader("freeze\n"), io.Discard, d, func() error { return failure })
	if !errors.Is(err, failure) || len(d.done) > 0 {
		t.Errorf("frozen without anybody who watches: %v, did %q", err, d.done)
	}
}

// TestServeThaws when it is told to end, or nobody listens any more, and says so if somebody else was quicker.
func TestServeThaws(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, to := io.Pipe()
	defer to.Close()
	from, out := io.Pipe()
	d := &disk{}
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, in, out, d, d.arm) }()
	read := func() string {
		b := make([]byte, 16)
		n, _ := from.Read(b)
		return string(b[:n])
	}
	_ = read()
	_, _ = io.WriteString(to, "freeze\n")
	if word := read(); word != "frozen\n" || !d.frozen() {
		t.Fatalf("it said %q", word)
	}
	cancel()
	if word := read(); word != "thawed\n" || <-ended != nil {
		t.Errorf("it said %q", word)
	}

	d = &disk{}
	if err := serve(t.Context(), strings.NewReader("freeze\n"), deaf{}, d, d.arm); err == nil || d.frozen() {
		t.Errorf("%v, frozen: %v", err, d.frozen())
	}

	d = &disk{}
	var said strings.Builder
	in, to = io.Pipe()
	go func() {
		_, _ = io.WriteString(to, "freeze\n")
		for !d.frozen() {
			time.Sleep(time.Millisecond)
		}
		_ = d.thaw()
		to.Close()
	}()
	if err := serve(t.Context(), in, &said, d, d.arm); err != nil || said.String() != "ready\nfrozen\nearly\n" {
		t.Errorf("%v, said %q", err, said.String())
	}
}

// deaf takes the first word alone.
type deaf struct{}

func (deaf) Write(b []byte) (int, error) {
	if string(b) == Ready+"\n" {
		return len(b), nil
	}
	return 0, io.ErrClosedPipe
}

func TestWatch(t *testing.T) {
	for name, x := range map[string]struct {
		in   string
		ends bool // the input does
		want int  // thaws
	}{
		"never frozen":            {"", true, 0},
		"refused":                 {"d", true, 0},
		"over in time":            {"ad", true, 0},
		"who froze has ended":     {"a", true, 1},
		"too long, several times": {"a", false, again},
	} {
		in, to := io.Pipe()
		go func() {
			_, _ = io.WriteString(to, x.in)
			if x.ends {
				to.Close()
			}
		}()
		limit := time.Hour
		if !x.ends {
			limit = time.Millisecond
		}
		thaws := 0
		watch(in, func() error { thaws++; return errThawed }, limit)
		if thaws != x.want {
			t.Errorf("%s: thawed %d times, want %d", name, thaws, x.want)
		}
		to.Close()
	}
}
