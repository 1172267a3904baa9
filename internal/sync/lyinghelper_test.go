package sync

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/sync/wire"
)

// talker is a helper written by its worst enemy: it answers each frame of the host's by what the test says.
type talker func(kind byte) []byte

func (l talker) Stream(ctx context.Context, c guest.Cmd, stdout, _ io.Writer) (int, error) {
	frames := make(chan byte, 100)
	parser := wire.Parser{Frame: func(kind byte, _ []byte) error { frames <- kind; return nil }}
	go func() {
		defer close(frames)
		_, _ = io.Copy(&parser, c.Stdin)
	}()
	for {
		select {
		case kind, ok := <-frames:
			if !ok {
				return 0, nil
			}
			if _, err := stdout.Write(l(kind)); err != nil {
				return -1, err
			}
		case <-ctx.Done():
			return -1, ctx.Err()
		}
	}
}

// TestLyingHelper has a helper say what no helper says. Nothing lands but what was listed under a good name and came whole,
// nothing is written elsewhere, and the pass ends.
func TestLyingHelper(t *testing.T) {
	t.Parallel()
	const list = wire.WholeOutbox
	hello := wire.AppendFrame(nil, wire.Ready, wire.AppendUint(nil, wire.Version))
	number := func(ns ...uint64) (b []byte) {
		for _, n := range ns {
			b = wire.AppendUint(b, n)
		}
		return b
	}
	entries := func(es ...Entry) []byte {
		b := number(uint64(list))
		var before Entry
		for _, e := range append([]Entry{{Kind: 'd', Mode: 0o755}}, es...) {
			b = wire.AppendEntry(b, &before, &e)
			before = e
		}
		return slices.Concat(wire.AppendFrame(nil, wire.Entries, b), wire.AppendFrame(nil, wire.End, number(uint64(list), 0)))
	}
	file := func(name string) Entry {
		return Entry{Name: name, Kind: 'f', Size: 4, Links: 1, Inode: uint64(len(name)), Mode: 0o644}
	}
	data := func(id uint32, content string) []byte {
		b := make([]byte, wire.DataHeaderSize)
		wire.PutDataHeader(b, id, len(content))
		return append(b, content...)
	}
	finish := func(id uint64, s wire.Status) []byte {
		return wire.AppendFrame(nil, wire.Finish, wire.AppendText(append(number(id), byte(s)), "\x1b[31mwords"))
	}
	good := slices.Concat(data(0, "good"), finish(0, wire.Whole))
	for _, c := range []struct {
		what      string
		list, get []byte
		lands     bool
		err       string // part of the error; empty: none
	}{
		{"honest", entries(file("good")), good, true, ""},
		{"in two pieces", entries(file("good")), slices.Concat(data(0, "go"), data(0, "od"), finish(0, wire.Whole)), true, ""},
		{
			"names that escape", entries(file("../up"), file("/etc/cron.d/x"), file("a/../../up"), file(".."), file("."), file("good")),
			good, true, "",
		},
		{"a file below a file", entries(file("good"), file("good/below")), good, true, ""},
		{"two outboxes", slices.Concat(entries(file("good"))[:0], entries(Entry{Kind: 'd'})), nil, false, "nobody asked for"},
		{"longer than listed", entries(file("good")), slices.Concat(data(0, "good and more"), finish(0, wire.Whole)), false, "more bytes"},
		{"shorter than listed", entries(file("good")), slices.Concat(data(0, "goo"), finish(0, wire.Whole)), false, ""},
		{"nothing, and whole", entries(file("good")), finish(0, wire.Whole), false, ""},
		{"a hole longer than the file", entries(file("good")), wire.AppendFrame(nil, wire.Hole, number(0, 1<<62)), false, "more bytes"},
		{"a hole that goes backwards", entries(file("good")), wire.AppendFrame(nil, wire.Hole, number(0, 1<<64-1)), false, "more bytes"},
		{"a file nobody asked for", entries(file("good")), data(7, "evil"), false, "nobody asked for"},
		{"a file that has ended", entries(file("good"), file("other")), slices.Concat(good, data(0, "evil")), true, "nobody asked for"},
		{"an end of nothing", entries(file("good")), finish(9, wire.Whole), false, "nobody asked for"},
		{"a status that is none", entries(file("good")), finish(0, 9), false, "nobody asked for"},
		{"goes on where nothing was", entries(file("good")), wire.AppendFrame(nil, wire.At, number(0, 4)), false, "nobody asked for"},
		{"seals what is no bundle", entries(file("good")), wire.AppendFrame(nil, wire.End, number(0, 0)), false, "nobody asked for"},
		{"busy", entries(file("good")), finish(0, wire.Busy), false, ""},
		{"changed", entries(file("good")), finish(0, wire.Changed), false, ""},
		{"refused", entries(file("good")), finish(0, wire.Refused), false, ""},
		{"fails", entries(file("good")), wire.AppendFrame(nil, wire.Failure, wire.AppendText(nil, "\x1b[31mboo")), false, `\x1b[31mboo`},
		{"an unknown frame", entries(file("good")), wire.AppendFrame(nil, 'Z', nil), false, "nobody asked for"},
		{"a frame without end", entries(file("good")), wire.AppendHeader(nil, wire.Entries, wire.MaxPayload+1), false, "not one of the protocol"},
		{"a frame cut short", entries(file("good")), wire.AppendFrame(nil, wire.Finish, nil), false, "midst of a value"},
		{"a frame too long", entries(file("good")), wire.AppendFrame(nil, wire.Finish, append(number(0), 0, 0, 0, 0)), false, "too many"},
		{"news of a watch nobody has", entries(file("good")), slices.Concat(
			wire.AppendFrame(nil, wire.Gone, wire.AppendText(nil, "good")), good), true, ""},
		{"beats without end, then good", entries(file("good")), slices.Concat(
			slices.Repeat(wire.AppendFrame(nil, wire.Beat, nil), 10_000), good), true, ""},
		{"another listing", entries(file("good")), entries(file("good")), false, "nobody asked for"},
		{"a listing that is none", wire.AppendFrame(nil, wire.Entries, append(number(uint64(list)), 0xff)), nil, false, "midst of a value"},
		{"a negative size", wire.AppendFrame(nil, wire.Entries, wire.AppendEntry(number(uint64(list)), &Entry{},
			&Entry{Name: "x", Kind: 'f', Size: -1})), nil, false, "midst of a value"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			root := scratch(t)
			o := Options{Workspace: "demo", Dest: filepath.Join(root, "dest"), State: filepath.Join(root, "state")}
			lists := c.list
			if c.what == "two outboxes" {
				lists = slices.Concat(lists[:len(lists)-len(wire.AppendFrame(nil, wire.End, number(uint64(list), 0)))], lists)
			}
			tr, err := OverHelper(talker(func(kind byte) []byte {
				return map[byte][]byte{wire.Hello: hello, wire.List: lists, wire.Get: c.get}[kind]
			}), o, "helper")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tr.Close() }()
			r, err := Once(t.Context(), tr, o, nil)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			for _, x := range r.Refused {
				if strings.ContainsRune(x.Reason, 0x1b) {
					t.Errorf("the helper's words are shown as they are: %q", x.Reason)
				}
			}
			want := ""
			if c.lands {
				want = "good"
			}
			if got := strings.Join(landed(r), " "); got != want {
				t.Errorf("landed %q, want %q; %+v", got, want, r)
			}
			if beside, err := os.ReadDir(root); err != nil || len(beside) != 2 {
				t.Errorf("beside it: %v, %v", beside, err)
			}
		})
	}
}
