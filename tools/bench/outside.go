package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// startOutside serves what stands for the internet on an address of this host. A connection's first byte says what it is
// for: 'd' and a length, to be sent that many bytes; 'u', whose bytes are counted to their end; 'e', to have eight bytes
// echoed at a time; 'G' and 'P' are HTTP's, GET /BYTES and PUT.
func startOutside(ip string) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return "", nil, fmt.Errorf("listening for the figures: %w", err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serveOutside(conn)
			}()
		}
	}()
	return l.Addr().String(), func() { _ = l.Close() }, nil
}

var zeros [64 << 10]byte

func serveOutside(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 256<<10)
	first, err := in.Peek(1)
	if err != nil {
		return
	}
	switch first[0] {
	case 'd':
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err == nil {
			sendZeros(conn, int64(binary.BigEndian.Uint64(head[1:])))
		}
	case 'u':
		n, _ := io.Copy(io.Discard, in)
		_, _ = conn.Write(binary.BigEndian.AppendUint64(nil, uint64(n-1)))
	case 'e':
		var word [8]byte
		for {
			if _, err := io.ReadFull(in, word[:]); err != nil {
				return
			}
			if _, err := conn.Write(word[:]); err != nil {
				return
			}
		}
	case 'G', 'P':
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		var n int64
		if size, err := strconv.ParseInt(req.URL.Path[1:], 10, 64); err == nil && req.Method == http.MethodGet {
			n = size
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", n)
		sendZeros(conn, n)
	}
}

func sendZeros(w io.Writer, n int64) {
	for n > 0 {
		part := zeros[:min(n, int64(len(zeros)))]
		if _, err := w.Write(part); err != nil {
			return
		}
		n -= int64(len(part))
	}
}

// transfer is the other end of 'd' and 'u'.
func transfer(conn net.Conn, kind byte, size int64) error {
	if kind == 'd' {
		if _, err := conn.Write(binary.BigEndian.AppendUint64([]byte{'d'}, uint64(size))); err != nil {
			return err
		}
		buf := make([]byte, 256<<10)
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, buf)
		if err == nil && n != size {
			err = fmt.Errorf("got %d of %d bytes", n, size)
		}
		return err
	}
	if _, err := conn.Write([]byte{'u'}); err != nil {
		return err
	}
	for left := size; left > 0; left -= int64(len(zeros)) {
		if _, err := conn.Write(zeros[:]); err != nil {
			return err
		}
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	var arrived [8]byte
	if _, err := io.ReadFull(conn, arrived[:]); err != nil {
		return err
	}
	if n := int64(binary.BigEndian.Uint64(arrived[:])); n != size {
		return fmt.Errorf("%d of %d bytes arrived", n, size)
	}
	return nil
}

// throughSOCKS dials an IPv4 address through a SOCKS5 proxy.
func throughSOCKS(proxy, address string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", proxy)
		if err != nil {
			return nil, err
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		request := append([]byte{5, 1, 0, 5, 1, 0, 1}, at.Addr().AsSlice()...)
		answer := make([]byte, 12)
		if _, err = conn.Write(binary.BigEndian.AppendUint16(request, at.Port())); err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		if err == nil && (answer[1] != 0 || answer[3] != 0) {
			err = fmt.Errorf("the proxy answered %x", answer)
		}
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, conn.SetDeadline(time.Time{})
	}
}
