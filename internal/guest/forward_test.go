package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// hostileGuest is an SSH server that lets in everybody and is then left to the test, which hears of each request before it
// is granted.
func hostileGuest(t *testing.T, heard func(conn *ssh.ServerConn, request string)) (*Client, *ssh.ServerConn) {
	t.Helper()
	id, err := EnsureIdentity(t.TempDir())
	must(t, err)
	config := &ssh.ServerConfig{NoClientAuth: true}
	key, err := ssh.ParsePrivateKey(id.HostKeyPEM())
	must(t, err)
	config.AddHostKey(key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	served := make(chan *ssh.ServerConn, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		conn, chans, reqs, err := ssh.NewServerConn(raw, config)
		if err != nil {
			return
		}
		go func() {
			for r := range reqs {
				heard(conn, r.Type)
				_ = r.Reply(true, nil)
			}
		}()
		go func() {
			for c := range chans {
				_ = c.Reject(ssh.Prohibited, "no")
			}
		}()
		served <- conn
	}()
	c, err := Connect(t.Context(), Options{
		Dial: func(context.Context) (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) },
		User: "x", HostKey: id.HostPublic(), Keepalive: -1,
	})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c, wait(t, "server", served)
}

// connectionTo says of a channel that it is a connection to a port of the guest's loopback.
func connectionTo(port uint32) []byte {
	return ssh.Marshal(struct {
		Addr   string
		Port   uint32
		Origin string
		From   uint32
	}{"127.0.0.1", port, "10.0.2.15", 40000})
}

// TestStopLosesNoConnection: what the guest's SSH server takes before it hears that it is to listen no more is served.
func TestStopLosesNoConnection(t *testing.T) {
	late := make(chan error, 1)
	c, conn := hostileGuest(t, func(conn *ssh.ServerConn, request string) {
		if request == "cancel-tcpip-forward" {
			_, _, err := conn.OpenChannel("forwarded-tcpip", connectionTo(3128))
			late <- err
		}
	})
	l, err := c.Listen("127.0.0.1:3128")
	must(t, err)
	done := make(chan error, 1)
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				done <- err
				return
			}
		}
	}()
	must(t, l.Stop(t.Context()))
	if err := wait(t, "the late connection", late); err != nil {
		t.Errorf("a connection taken before: %v", err)
	}
	if err := wait(t, "Accept", done); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
	if _, _, err := conn.OpenChannel("forwarded-tcpip", connectionTo(3128)); err == nil {
		t.Error("a connection taken after it was accepted")
	}
	must(t, l.Close())
}

// TestAGuestThatOpensChannels: many more channels than a client allows, most of which never end, cost next to nothing.
func TestAGuestThatOpensChannels(t *testing.T) {
	many := 2000
	if n, err := strconv.Atoi(os.Getenv("CAL_TEST_CHANNELS")); err == nil {
		many = n
	}
	c, conn := hostileGuest(t, func(*ssh.ServerConn, string) {})
	l, err := c.Listen("127.0.0.1:3128")
	must(t, err)
	var accepted atomic.Int32
	done := make(chan error, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			if accepted.Add(1) <= maxForwarded {
				conn.Close() // as a proxy does that has enough
			} // the others never end
		}
	}()
	payload := connectionTo(3128)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	refused := 0
	var held []ssh.Channel
	for range many {
		ch, _, err := conn.OpenChannel("forwarded-tcpip", payload)
		var open *ssh.OpenChannelError
		switch {
		case err == nil:
			held = append(held, ch)
		case errors.As(err, &open) && open.Reason == ssh.ResourceShortage:
			refused++
		default:
			t.Fatal(err)
		}
	}
	for i, bad := range [][]byte{
		nil,
		connectionTo(1),
		ssh.Marshal(struct {
			A string
			P uint32
			O string
			F uint32
		}{"nonsense", 3128, "1.2.3.4", 1 << 20}),
	} {
		if _, _, err := conn.OpenChannel("forwarded-tcpip", bad); err == nil {
			t.Errorf("channel %d was taken", i)
		}
	}
	if _, _, err := conn.OpenChannel("session", nil); err == nil {
		t.Error("the guest opened a session on the host")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d channels: %d accepted, %d refused, heap %d KiB more", many, accepted.Load(), refused,
		(int64(after.HeapAlloc)-int64(before.HeapAlloc))>>10)
	if refused+len(held) != many || len(held) > 2*maxForwarded {
		t.Errorf("%d of %d refused", refused, many)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("the connection: %v", err)
	}
	must(t, l.Close())
	if err := wait(t, "Accept", done); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
}

func TestListenersEndWithTheConnection(t *testing.T) {
	c := startSSHD(t).connect()
	l, err := c.Listen("127.0.0.1:0")
	must(t, err)
	if _, err := c.Listen(l.Addr().String()); err == nil {
		t.Error("listened twice on one port")
	}
	for i := range 20 {
		near, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		far, err := l.Accept()
		must(t, err)
		if far.RemoteAddr().String() != near.LocalAddr().String() {
			t.Errorf("accepted %v, dialled from %v", far.RemoteAddr(), near.LocalAddr())
		}
		fmt.Fprintf(near, "hello %d", i)
		must(t, near.(*net.TCPConn).CloseWrite())
		got, err := io.ReadAll(far)
		must(t, err)
		fmt.Fprintf(far, "got %s", got)
		must(t, far.(interface{ CloseWrite() error }).CloseWrite())
		if got, err := io.ReadAll(near); err != nil || string(got) != fmt.Sprintf("got hello %d", i) {
			t.Errorf("got %q, %v", got, err)
		}
		near.Close()
		far.Close()
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	must(t, c.Close())
	if err := wait(t, "Accept", done); !errors.Is(err, io.EOF) {
		t.Errorf("Accept ended with %v", err)
	}
	if _, err := c.Listen("127.0.0.1:0"); err == nil {
		t.Error("listened on a closed connection")
	}
	deadline := time.Now().Add(20 * time.Second)
	for c.forwards.count() != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d places are still taken", c.forwards.count())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (f *forwards) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open
}
