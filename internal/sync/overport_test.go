package sync

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/sync/outboxer"
)

// ported is a guest with a serial port: a helper in this process, whose answers come over a pipe.
type ported struct {
	Client
	stale string // what somebody had left in the port
	says  string // on standard output
	far   net.Conn
	dials int
}

func (*ported) GuestOS() string { return "linux" }

func (p *ported) dial(context.Context) (near net.Conn, err error) {
	p.dials++
	near, p.far = net.Pipe()
	return near, nil
}

func (p *ported) Stream(ctx context.Context, cmd guest.Cmd, stdout, _ io.Writer) (int, error) {
	i := slices.Index(cmd.Argv, "-word")
	if i < 0 || !slices.Contains(cmd.Argv, "calmenu.outbox") {
		return 2, nil
	}
	defer p.far.Close()
	defer context.AfterFunc(ctx, func() { _ = p.far.Close() })()
	if p.says != "" {
		if _, err := io.WriteString(stdout, p.says); err != nil {
			return 0, err
		}
	}
	if _, err := io.WriteString(p.far, p.stale+cmd.Argv[i+1]); err != nil {
		return 0, err
	}
	served := make(chan error, 1)
	go func() { served <- outboxer.Serve(ctx, cmd.Stdin, p.far) }()
	select {
	case err := <-served:
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// TestOverPort: what is fetched comes over the port, after what somebody else had left in it.
func TestOverPort(t *testing.T) {
	b := newOutbox(t)
	b.o.GuestDir = b.dir
	large := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	b.put("large", large)
	b.put("small", "here")
	for _, stale := range []string{"", "some bytes", strings.Repeat("\x01", 100_000), "\x01ABC"} {
		g := &ported{stale: stale}
		tr, err := OverPort(t.Context(), g, b.o, g.dial)
		b.must(err)
		l, err := tr.List(t.Context())
		b.must(err)
		if len(l.Entries) != 2 || g.dials != 1 {
			t.Errorf("after %.10q: %d entries over %d ports", stale, len(l.Entries), g.dials)
		}
		b.must(os.RemoveAll(b.o.Dest))
		b.must(os.RemoveAll(b.o.State))
		_, err = Once(t.Context(), tr, b.o, nil)
		b.must(err)
		if b.have("large") != large || b.have("small") != "here" {
			t.Errorf("after %.10q: something else has landed", stale)
		}
		b.must(tr.Close())
		if _, err := g.far.Write([]byte("x")); err == nil {
			t.Errorf("after %.10q: the port is still held", stale)
		}
	}
}

// TestNothingOverPort: who has to do without a port learns it before anything is asked for.
func TestNothingOverPort(t *testing.T) {
	b := newOutbox(t)
	none := errors.New("there is none")
	g := &ported{}
	if _, err := OverPort(t.Context(), g, b.o, func(context.Context) (net.Conn, error) { return nil, none }); !errors.Is(err, none) {
		t.Errorf("without a port: %v", err)
	}
	chatty := &ported{says: "hello"}
	if _, err := OverPort(t.Context(), chatty, b.o, chatty.dial); !errors.Is(err, errProtocol) {
		t.Errorf("a helper that says something where it must not: %v", err)
	}
	endless := &ported{stale: strings.Repeat("x", 16<<20)}
	if _, err := OverPort(t.Context(), endless, b.o, endless.dial); err == nil {
		t.Error("a port that says no word is waited for")
	}
}
