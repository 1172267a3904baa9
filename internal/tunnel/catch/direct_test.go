package catch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel/direct"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func identity(t *testing.T) *direct.Identity {
	t.Helper()
	i, err := direct.NewIdentity()
	must(t, err)
	return i
}

// offered is what a host says of itself.
func offered(t *testing.T, host *direct.Identity) []byte {
	t.Helper()
	pin := host.Pin()
	offer, err := json.Marshal(wire.Offer{Pin: pin[:]})
	must(t, err)
	return offer
}

// TestStrangersAtTheDirectPort: who else comes to the port holds up nobody and gets nothing; after the host nobody does.
func TestStrangersAtTheDirectPort(t *testing.T) {
	host, other := identity(t), identity(t)
	id, peer, l, err := listenDirect(offered(t, host))
	must(t, err)
	at := net.JoinHostPort("127.0.0.1", strings.TrimPrefix(l.Addr().String(), "0.0.0.0:"))
	ctx, cancel := context.WithTimeout(t.Context(), lineTime)
	defer cancel()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", at)
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	type met struct {
		conn *direct.Conn
		err  error
	}
	accepted := make(chan met, 1)
	go func() {
		conn, err := acceptDirect(ctx, l, id, peer)
		accepted <- met{conn, err}
	}()
	silent := dial()
	_, err = io.WriteString(dial(), "GET / HTTP/1.1\r\n\r\n")
	must(t, err)
	if conn, err := other.Dial(ctx, dial(), id.Pin()); err == nil {
		// Its handshake is over before the guest's end has seen who it is.
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("another host is served")
		}
	}
	conn, err := host.Dial(ctx, dial(), id.Pin())
	must(t, err)
	defer conn.Close()
	m := <-accepted
	must(t, m.err)
	defer m.conn.Close()
	_, err = io.WriteString(m.conn, "hello")
	must(t, err)
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	_ = silent.SetReadDeadline(time.Now().Add(lineTime))
	if _, err := io.Copy(io.Discard, silent); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a connection that said nothing is kept")
	}
	if late, err := net.Dial("tcp", at); err == nil {
		late.Close()
		t.Error("the port is open after the host has come")
	}
}

// TestNobodyComesToTheDirectPort: it is closed in time, and a host that says nothing of itself is not waited for.
func TestNobodyComesToTheDirectPort(t *testing.T) {
	id, peer, l, err := listenDirect(offered(t, identity(t)))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := acceptDirect(ctx, l, id, peer); err == nil || err.Error() != "the host did not come" {
		t.Errorf("nobody has come: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the port is open: %v", err)
	}
	for _, offer := range []string{"", "{}", `{"pin":"AAAA"}`, "SSH-2.0"} {
		if _, _, _, err := listenDirect([]byte(offer)); !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%q: %v", offer, err)
		}
	}
}
