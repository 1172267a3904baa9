package catch

import (
	"context"
	"io"
	"net"
	"strconv"
)

// Pipe passes bytes between standard input and output and a port of the loopback until the other end ends. sshuttle takes
// it for SSH.
func Pipe(ctx context.Context, port uint16, in io.Reader, out io.Writer) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	go func() {
		_, _ = io.Copy(conn, in)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(out, conn)
	return err
}
