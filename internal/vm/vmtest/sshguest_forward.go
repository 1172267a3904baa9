package vmtest

import (
	"io"
	"net"
	"strconv"
	"sync"

	"golang.org/x/crypto/ssh"
)

// forwards are one connection's remote forwards: RFC 4254 section 7.
type forwards struct {
	conn      *ssh.ServerConn
	tasks     sync.WaitGroup
	mu        sync.Mutex // guards listeners
	listeners map[string]net.Listener
}

func (f *forwards) serve(reqs <-chan *ssh.Request) {
	for r := range reqs {
		ok, reply := f.request(r)
		if r.WantReply {
			_ = r.Reply(ok, reply)
		}
	}
}

func (f *forwards) request(r *ssh.Request) (ok bool, reply []byte) {
	var a struct {
		Host string
		Port uint32
	}
	if ssh.Unmarshal(r.Payload, &a) != nil {
		return false, nil
	}
	switch r.Type {
	case "tcpip-forward":
		// Whatever the address asked for, a test's guest listens on loopback alone.
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(a.Port))))
		if err != nil {
			return false, nil
		}
		port := uint32(l.Addr().(*net.TCPAddr).Port)
		f.mu.Lock()
		f.listeners[net.JoinHostPort(a.Host, strconv.Itoa(int(port)))] = l
		f.mu.Unlock()
		f.tasks.Go(func() { f.accept(l, a.Host, port) })
		if a.Port == 0 {
			reply = ssh.Marshal(struct{ Port uint32 }{port})
		}
		return true, reply
	case "cancel-tcpip-forward":
		key := net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
		f.mu.Lock()
		defer f.mu.Unlock()
		l := f.listeners[key]
		if l == nil {
			return false, nil
		}
		delete(f.listeners, key)
		return l.Close() == nil, nil
	}
	return false, nil
}

func (f *forwards) accept(l net.Listener, host string, port uint32) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		f.tasks.Go(func() { f.carry(c, host, port) })
	}
}

func (f *forwards) carry(c net.Conn, host string, port uint32) {
	defer c.Close()
	from := c.RemoteAddr().(*net.TCPAddr)
	ch, reqs, err := f.conn.OpenChannel("forwarded-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}{host, port, from.IP.String(), uint32(from.Port)}))
	if err != nil {
		return
	}
	defer ch.Close()
	go ssh.DiscardRequests(reqs)
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(ch, c)
		_ = ch.CloseWrite()
	})
	_, _ = io.Copy(c, ch)
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	up.Wait()
}

func (f *forwards) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		l.Close()
	}
}
