package sync

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/sync/wire"
)

// drip is what a guest says by and by: a piece of so many bytes, then a pause; over and over where it is endless.
type drip struct {
	text    []byte
	piece   int
	pause   time.Duration
	endless bool
}

func (d drip) to(ctx context.Context, w io.Writer) error {
	for again := true; again; again = d.endless {
		for b := d.text; len(b) > 0; {
			n := min(d.piece, len(b))
			if _, err := w.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
			if d.pause > 0 {
				select {
				case <-time.After(d.pause):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
	return nil
}

func atOnce(b []byte) drip { return drip{text: b, piece: len(b)} }

// dripping is a guest, with a helper and with programs of its own, that lists and hands over as it says.
type dripping struct{ list, get drip }

func (g dripping) Stream(ctx context.Context, c guest.Cmd, stdout, _ io.Writer) (int, error) {
	switch {
	case len(c.Argv) > 2 && c.Argv[2] == "find":
		return 0, g.list.to(ctx, stdout)
	case len(c.Argv) > 2:
		_, _ = io.Copy(io.Discard, c.Stdin)
		return 0, g.get.to(ctx, stdout)
	}
	asked := make(chan byte, 100)
	go func() {
		defer close(asked)
		_, _ = io.Copy(&wire.Parser{Frame: func(kind byte, _ []byte) error { asked <- kind; return nil }}, c.Stdin)
	}()
	hello := atOnce(wire.AppendFrame(nil, wire.Ready, wire.AppendUint(nil, wire.Version)))
	for kind := range asked {
		if err := map[byte]drip{wire.Hello: hello, wire.List: g.list, wire.Get: g.get}[kind].to(ctx, stdout); err != nil {
			return -1, err
		}
	}
	return 0, ctx.Err()
}

// TestADrippingGuestIsGivenUp has guests say just enough that they are never silent for long: a pass ends all the same.
// One that is slow, but not that slow, is waited for. It runs on the time of a bubble.
func TestADrippingGuestIsGivenUp(t *testing.T) {
	const size = 20 << 20
	file := Entry{Name: "file", Kind: 'f', Size: size, Links: 1, Inode: 7, Mode: 0o644}
	listing := func(n int) (b []byte) {
		number := wire.AppendUint(nil, uint64(wire.WholeOutbox))
		payload := wire.AppendEntry(number, &Entry{}, &Entry{Kind: 'd', Mode: 0o755})
		payload = wire.AppendEntry(payload, &Entry{Kind: 'd', Mode: 0o755}, &file)
		b = wire.AppendFrame(b, wire.Entries, payload)
		for i := range n {
			b = wire.AppendFrame(b, wire.Entries, wire.AppendEntry(number, &Entry{}, &Entry{
				Name: "x", Kind: 'p', Size: 1e12, Inode: 1e12 + uint64(i), Device: 1e12, Links: 1e12,
			}))
		}
		return append(b, wire.AppendFrame(nil, wire.End, append(number, 0))...)
	}
	var content []byte
	for sent := 0; sent < size; sent += 64 << 10 {
		head := make([]byte, wire.DataHeaderSize)
		wire.PutDataHeader(head, 0, 64<<10)
		content = append(append(content, head...), make([]byte, 64<<10)...)
	}
	content = append(content, wire.AppendFrame(nil, wire.Finish, wire.AppendText([]byte{0, byte(wire.Whole)}, ""))...)
	put := wire.AppendFrame(nil, wire.Put, wire.AppendEntry(nil, &Entry{}, &Entry{Name: string(make([]byte, 4000)), Kind: 'f'}))
	beat := wire.AppendFrame(nil, wire.Beat, nil)
	records := []byte(rootRecord + fileRecord("file", size))
	packed := []byte(archive(t, tar.Header{Name: "./file", Typeflag: tar.TypeReg, Size: size}))

	for _, c := range []struct {
		what string
		g    dripping
		tar  bool
		slow bool // too slow to be waited for
	}{
		{"helper, a listing by drops", dripping{list: drip{listing(1000), 1, 50 * time.Second, false}}, false, true},
		{"helper, a file by drops", dripping{atOnce(listing(0)), drip{content, 1, 50 * time.Second, false}}, false, true},
		{"helper, a file by handfuls", dripping{atOnce(listing(0)), drip{content, 100 << 10, 10 * time.Second, false}}, false, true},
		{"helper, signs of life", dripping{atOnce(listing(0)), drip{beat, 5, time.Second, true}}, false, true},
		{"helper, a flood of news", dripping{atOnce(listing(0)), drip{put, 8 << 10, time.Millisecond, true}}, false, true},
		{"helper, a slow listing", dripping{drip{listing(19_000), 1000, 2 * time.Second / 3, false}, atOnce(content)}, false, false},
		{"helper, a slow file", dripping{atOnce(listing(0)), drip{content, 40 << 10, time.Second, false}}, false, false},
		{"tar, a listing by drops", dripping{list: drip{records, 1, 50 * time.Second, false}}, true, true},
		{"tar, a file by drops", dripping{atOnce(records), drip{packed, 1, 50 * time.Second, false}}, true, true},
		{"tar, a slow file", dripping{atOnce(records), drip{packed, 40 << 10, time.Second, false}}, true, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			root := scratch(t)
			synctest.Test(t, func(t *testing.T) {
				o := Options{Workspace: "demo", Dest: filepath.Join(root, "dest"), State: filepath.Join(root, "state")}
				open := OverTar
				if !c.tar {
					open = func(r Runner, o Options) (Transport, error) { return OverHelper(r, o, "helper") }
				}
				tr, err := open(c.g, o)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				r, err := Once(t.Context(), tr, o, nil)
				took := time.Since(start)
				switch {
				case c.slow && (!errors.Is(err, ErrTooSlow) || took > patience+stallTimeout):
					t.Errorf("%v after %v", err, took)
				case !c.slow && (err != nil || len(r.Landed) != 1 || took < 2*patience):
					t.Errorf("%d landed, %v after %v", len(r.Landed), err, took)
				}
				if err := tr.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSignsOfLifeEarnWhatIsReadForThem has a helper read what is here already before it sends: its signs of life count, as
// many as that takes.
func TestSignsOfLifeEarnWhatIsReadForThem(t *testing.T) {
	c := newFetchCall(nil, nil, nil)
	c.prefix = 2*wire.BeatEvery + 1
	for i, want := range []bool{true, true, false} {
		if c.beat(); (c.gained() >= patience) != want {
			t.Errorf("sign of life %d", i)
		}
	}
}
