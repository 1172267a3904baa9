package direct

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func identity(t testing.TB) *Identity {
	t.Helper()
	i, err := NewIdentity()
	must(t, err)
	return i
}

// cable is a TCP connection with both its ends.
func cable(t testing.TB) (host, guest net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	host, err = net.Dial("tcp", l.Addr().String())
	must(t, err)
	guest, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { _, _ = host.Close(), guest.Close() })
	return host, guest
}

// met are the two ends of a connection, or why there is none.
func met(t testing.TB, host, guest *Identity, wantsGuest, wantsHost Pin) (h, g *Conn, hostErr, guestErr error) {
	t.Helper()
	a, b := cable(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() { h, hostErr = host.Dial(ctx, a, wantsGuest) })
	both.Go(func() {
		if g, guestErr = guest.Accept(ctx, b, wantsHost); guestErr == nil {
			_, guestErr = g.Write([]byte{1})
		}
	})
	both.Wait()
	if hostErr == nil {
		// The host's handshake is over before the guest has seen its certificate.
		_, hostErr = io.ReadFull(h, make([]byte, 1))
	}
	return h, g, hostErr, guestErr
}

// TestBytesBothWays: what is written comes as it was, in pieces of all sizes, from several writers at once.
func TestBytesBothWays(t *testing.T) {
	host, guest := identity(t), identity(t)
	h, g, herr, gerr := met(t, host, guest, guest.Pin(), host.Pin())
	must(t, errors.Join(herr, gerr))
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	for _, way := range []struct{ from, to *Conn }{{h, g}, {g, h}} {
		go func() {
			for at, n := 0, 1; at < len(sent); at, n = at+n, n*3 {
				n = min(n, len(sent)-at)
				if err := way.from.WriteParts(sent[at:at+n/2], sent[at+n/2:at+n]); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		got := make([]byte, len(sent))
		_, err := io.ReadFull(way.to, got)
		must(t, err)
		if !bytes.Equal(got, sent) {
			t.Error("other bytes have come")
		}
	}
	var writers sync.WaitGroup
	const each, pieces = 100, 20_000
	for i := range byte(3) {
		writers.Go(func() {
			for range each {
				if err := h.WriteParts(bytes.Repeat([]byte{i}, pieces/2), bytes.Repeat([]byte{i}, pieces/2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	piece := make([]byte, pieces)
	for range 3 * each {
		_, err := io.ReadFull(g, piece)
		must(t, err)
		if bytes.Count(piece, piece[:1]) != pieces {
			t.Fatal("what was written as a whole came in parts")
		}
	}
	writers.Wait()
	must(t, h.Close())
	if _, err := g.Read(piece); err == nil {
		t.Error("read after the end")
	}
}

// TestOthersAreNobody: neither end talks to one whose certificate it was not told of, and a certificate can be used by its
// key's owner alone.
func TestOthersAreNobody(t *testing.T) {
	host, guest, other := identity(t), identity(t), identity(t)
	thief := identity(t)
	thief.cert.Certificate = guest.cert.Certificate
	for what, tt := range map[string]struct {
		host, guest           *Identity
		wantsGuest, wantsHost Pin
	}{
		"another guest":             {host, other, guest.Pin(), host.Pin()},
		"another host":              {other, guest, guest.Pin(), host.Pin()},
		"a guest without the key":   {host, thief, guest.Pin(), host.Pin()},
		"a pin of nothing, at host": {host, guest, Pin{}, host.Pin()},
	} {
		t.Run(what, func(t *testing.T) {
			h, g, herr, gerr := met(t, tt.host, tt.guest, tt.wantsGuest, tt.wantsHost)
			if herr == nil {
				t.Errorf("the host has met the guest: %v", h)
			}
			if gerr == nil && tt.host == other {
				t.Errorf("the guest has met the host: %v", g)
			}
		})
	}
}

// TestNonsense: an end that says something else, nothing, or goes, ends it in time, and what was open is closed.
func TestNonsense(t *testing.T) {
	for what, do := range map[string]func(net.Conn){
		"something else": func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-OpenSSH\r\n")) },
		"its first byte": func(c net.Conn) { _, _ = c.Write([]byte{greeting}) },
		"no TLS":         func(c net.Conn) { _, _ = c.Write(append([]byte{greeting}, make([]byte, 1000)...)) },
		"nothing":        func(net.Conn) {},
		"it goes":        func(c net.Conn) { _ = c.Close() },
	} {
		for end, meet := range map[string]func(context.Context, net.Conn) error{
			"host": func(ctx context.Context, c net.Conn) error {
				_, err := identity(t).Dial(ctx, c, Pin{1})
				return err
			},
			"guest": func(ctx context.Context, c net.Conn) error {
				_, err := identity(t).Accept(ctx, c, Pin{1})
				return err
			},
		} {
			t.Run(end+", "+what, func(t *testing.T) {
				near, far := cable(t)
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				do(far)
				if err := meet(ctx, near); err == nil {
					t.Error("they have met")
				}
				if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("it is open: %v", err)
				}
			})
		}
	}
}
