package catch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/nettest"
)

// TestLed: of the loopback, the proxy's ports alone are led to the host.
func TestLed(t *testing.T) {
	o := Options{Port: 3129, Proxy: []uint16{3128, 1080}}
	for to, want := range map[string]bool{
		"192.0.2.7:3128": true,
		"192.0.2.7:22":   true,
		"127.0.0.1:3128": true,
		"127.0.0.1:1080": true,
		"127.0.0.1:3129": false,
		"127.0.0.1:22":   false,
		"127.0.0.2:3128": false,
		"[::1]:3128":     false,
	} {
		if got := o.led(netip.MustParseAddrPort(to)); got != want {
			t.Errorf("%s is led: %v", to, got)
		}
	}
	if o.led(netip.AddrPort{}) {
		t.Error("nowhere is led")
	}
}

// going is where connections wanted to go, in a test without a kernel that redirects.
type going struct {
	to  netip.AddrPort
	err error
}

func (g going) wanted(*net.TCPConn) (netip.AddrPort, error) { return g.to, g.err }

// holding is a holder that serves, whose SSH server is another.
func holding(t *testing.T, ssh netip.AddrPort, g going, proxy ...uint16) *holder {
	t.Helper()
	h, err := newHolder(&keeper{options: Options{Port: ssh.Port(), Proxy: proxy}}, g)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.serve()
	}()
	t.Cleanup(func() {
		h.l.Close()
		<-done
	})
	return h
}

// dialHeld opens a connection to a holder.
func dialHeld(t *testing.T, h *holder) (*net.TCPConn, error) {
	t.Helper()
	conn, err := net.DialTCP("tcp4", nil, h.l.Addr().(*net.TCPAddr))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return conn, conn.SetDeadline(time.Now().Add(lineTime))
}

// TestHeldConnection: the SSH server's end can ask where a connection wants to go as soon as there is one, until that is over; of
// others' connections it learns nothing. Each direction ends by itself.
func TestHeldConnection(t *testing.T) {
	ssh, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer ssh.Close()
	to := netip.MustParseAddrPort("192.0.2.7:443")
	h := holding(t, ssh.Addr().(*net.TCPAddr).AddrPort(), going{to: to})
	conn, err := dialHeld(t, h)
	must(t, err)
	there, err := ssh.AcceptTCP()
	must(t, err)
	defer there.Close()
	from := there.RemoteAddr().(*net.TCPAddr).AddrPort()
	if got := h.k.origins.of(from); got != to {
		t.Errorf("%v wants to go to %v", from, got)
	}
	other, err := net.Dial("tcp4", ssh.Addr().String())
	must(t, err)
	defer other.Close()
	if got := h.k.origins.of(other.LocalAddr().(*net.TCPAddr).AddrPort()); got.IsValid() {
		t.Errorf("a stranger's connection wants to go to %v", got)
	}
	_, err = io.WriteString(conn, "question")
	must(t, err)
	must(t, conn.CloseWrite())
	if got, err := io.ReadAll(there); err != nil || string(got) != "question" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = io.WriteString(there, "answer")
	must(t, err)
	must(t, there.Close())
	if got, err := io.ReadAll(conn); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
	for limit := time.Now().Add(lineTime); h.k.origins.of(from).IsValid(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it is remembered after its end")
		}
	}
}

// TestHeldConnectionFails: what cannot be led is told so at once; what nobody redirected is closed.
func TestHeldConnectionFails(t *testing.T) {
	nobody, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	ssh := nobody.Addr().(*net.TCPAddr).AddrPort()
	nobody.Close()
	for what, tt := range map[string]struct {
		going going
		want  error
	}{
		"no SSH server":         {going{to: netip.MustParseAddrPort("192.0.2.7:443")}, syscall.ECONNRESET},
		"dialled by itself":     {going{to: netip.MustParseAddrPort("127.0.0.1:40000")}, io.EOF},
		"not redirected at all": {going{err: syscall.ENOENT}, io.EOF},
	} {
		conn, err := dialHeld(t, holding(t, ssh, tt.going))
		if err == nil { // else it has failed already
			_, err = conn.Read(make([]byte, 1))
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestHeldConnectionToTheProxy: one that was redirected to a line that has ended meanwhile goes where its program dialled.
func TestHeldConnectionToTheProxy(t *testing.T) {
	proxy := netip.MustParseAddrPort(nettest.Serve(t, func(conn *net.TCPConn) { _, _ = io.WriteString(conn, "the proxy") }))
	conn, err := dialHeld(t, holding(t, netip.AddrPortFrom(loopback, 1), going{to: proxy}, proxy.Port()))
	must(t, err)
	if got, err := io.ReadAll(conn); err != nil || string(got) != "the proxy" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestProof: a connection to nowhere proves that connections are redirected if it comes here. Not if it is refused, or comes
// elsewhere.
func TestProof(t *testing.T) {
	h := holding(t, netip.AddrPortFrom(loopback, 1), going{to: nowhere})
	here := h.l.Addr().(*net.TCPAddr).AddrPort()
	for range 2 { // again when the method is chosen anew
		must(t, h.prove(t.Context(), here))
	}
	refused, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	refused.Close()
	if err := h.prove(t.Context(), refused.Addr().(*net.TCPAddr).AddrPort()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	elsewhere := netip.MustParseAddrPort(nettest.Serve(t, func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.prove(ctx, elsewhere); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("elsewhere: %v", err)
	}
}
