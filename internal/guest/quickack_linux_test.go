package guest

import (
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/nettest"
)

// TestQuickAck has what comes acknowledged at once over a connection on which the kernel has begun to wait for answers to send
// along.
func TestQuickAck(t *testing.T) {
	near, far := nettest.Ends(t)
	b := make([]byte, 8)
	exchange := func(read func([]byte) (int, error)) {
		t.Helper()
		if _, err := far.Write(b[:1]); err != nil {
			t.Fatal(err)
		}
		if n, err := read(b); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	for tries := 0; quick(t, near); tries++ {
		if tries == 100 {
			t.Skip("this kernel acknowledges everything at once")
		}
		exchange(near.Read)
		if _, err := near.Write(b[:1]); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	terminals := &atomic.Int32{}
	heard := newEar(near, terminals)
	terminals.Add(1)
	if exchange(heard.Read); quick(t, near) {
		t.Error("a key's echo is acknowledged apart")
	}
	terminals.Add(-1)
	if exchange(heard.Read); !quick(t, near) {
		t.Error("what came by itself waits for an answer to be acknowledged with")
	}
	if quickAck(struct{ net.Conn }{near}) != nil {
		t.Error("it is known how to acknowledge over any connection")
	}
}

// quick tells whether the kernel acknowledges what comes at once.
func quick(t *testing.T, conn *net.TCPConn) bool {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	cerr := raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_QUICKACK) })
	if cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return value != 0
}
