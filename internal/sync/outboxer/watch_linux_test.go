package outboxer

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

// TestClosedByOneOfTwo has a file closed by one of two that write to it. A file that nobody has closed is not told of; one
// that somebody has is, whatever it seems to be: the kernel tells of a close before it counts one writer less, so that
// the last close may look like this one, and is the last event there is.
func TestClosedByOneOfTwo(t *testing.T) {
	box := t.TempDir()
	requests, ask := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(t.Context(), requests, out) }()
	put := make(chan string, 100)
	listed := make(chan struct{})
	go func() {
		p := wire.Parser{Data: func(uint32, []byte) error { return nil }}
		p.Frame = func(kind byte, payload []byte) error {
			d := wire.NewDecoder(payload)
			switch kind {
			case wire.End:
				close(listed)
			case wire.Put:
				return d.EntriesOf(func(e wire.Entry) error {
					put <- e.Name
					return nil
				})
			}
			return nil
		}
		if _, err := io.Copy(&p, answers); err != nil {
			t.Error(err)
		}
	}()
	hello := wire.Outbox{Dir: box, MaxEntries: 100, MaxDepth: 10}
	for _, f := range [][]byte{
		wire.AppendFrame(nil, wire.Hello, hello.Append(nil)), wire.AppendFrame(nil, wire.Watch, nil),
	} {
		if _, err := ask.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	<-listed

	name := filepath.Join(box, "report.txt")
	first, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	// What is told of an open file would be told before this one.
	if err := os.WriteFile(filepath.Join(box, "other.txt"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	told := func() string {
		t.Helper()
		select {
		case name := <-put:
			return name
		case <-time.After(30 * time.Second):
			t.Fatal("nothing is told")
			return ""
		}
	}
	if name := told(); name != "other.txt" {
		t.Errorf("told of %s, which is open", name)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for told() != "report.txt" { // the other may be told twice
	}

	_ = ask.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_ = out.Close()
}
