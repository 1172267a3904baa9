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

// hostileGuest is an SSH server that lets in everybody and is then left to the test.
func hostileGuest(t *testing.T) (*Client, *ssh.ServerConn) {
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

// TestAGuestThatOpensChannels: many more channels than a client allows, most of which never end, cost next to nothing.
func TestAGuestThatOpensChannels(t *testing.T) {
	many := 2000
	if n, err := strconv.Atoi(os.Getenv("CAL_TEST_CHANNELS")); err == nil {
		many = n
	}
	c, conn := hostileGuest(t)
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
	payload := ssh.Marshal(struct {
		Addr   string
		Port   uint32
		Origin string
		From   uint32
	}{"127.0.0.1", 3128, "10.0.2.15", 40000})
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
		ssh.Marshal(struct {
			A string
			P uint32
			O string
			F uint32
		}{"127.0.0.1", 1, "1.2.3.4", 1}),
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
