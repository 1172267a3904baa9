package guest

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quickAck returns what acknowledges what has come over a connection at once; nil where there is no such thing. The kernel waits
// up to 40 ms for something to send along, and OpenSSH's server, in turn, holds back the end of a burst until the rest of it is
// acknowledged (Nagle's algorithm, RFC 9293 section 3.7.4: it turns that off only for terminals). The kernel forgets it with the
// next that is sent (tcp(7)).
func quickAck(conn net.Conn) func() {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	now := func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(now) }
}
