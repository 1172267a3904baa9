package carrier

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// port stands for a machine's serial port: a terminal, new each time it is opened on the host, that the box finds where
// Linux has such ports.
type port struct {
	b *box

	mu     sync.Mutex // guards what follows
	conn   *ported    // the last
	opened int
	busy   bool
}

// portDevice is taken away from the box to be the port's: there has to be a device of that name.
const portDevice = "full"

func (b *box) port() *port {
	b.t.Helper()
	command(b.t, b.inside("sh", "-c", `mount -t tmpfs tmpfs /sys/class && mkdir -p /sys/class/virtio-ports/`+portDevice+
		` && echo `+vm.NetworkPort+` >/sys/class/virtio-ports/`+portDevice+`/name`)...)
	return &port{b: b}
}

// ported is the host's end of a port.
type ported struct {
	net.Conn // none: nobody asks for addresses or sets deadlines
	f        *os.File
	guest    *os.File // the other end: it is there as long as the port is
	p        *port
	closed   sync.Once
	passed   int64
}

func (c *ported) Read(b []byte) (int, error) {
	n, err := c.f.Read(b)
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.passed += int64(n)
	return n, err
}

func (c *ported) Write(b []byte) (int, error) { return c.f.Write(b) }

func (c *ported) Close() (err error) {
	c.closed.Do(func() { err = errors.Join(c.guest.Close(), c.f.Close()) })
	return err
}

func (p *port) dial(context.Context) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		return nil, vm.ErrBusy
	}
	host, guest, err := pty.Open()
	if err != nil {
		return nil, err
	}
	if _, err := term.MakeRaw(int(guest.Fd())); err != nil {
		return nil, errors.Join(err, guest.Close(), host.Close())
	}
	// Package pty has made it one whose reader cannot be woken.
	fd, err := syscall.Dup(int(host.Fd()))
	if err == nil {
		syscall.CloseOnExec(fd)
		err = errors.Join(syscall.SetNonblock(fd, true), host.Close())
	}
	if err != nil {
		return nil, errors.Join(err, guest.Close(), host.Close())
	}
	p.conn = &ported{f: os.NewFile(uintptr(fd), "port"), guest: guest, p: p}
	command(p.b.t, p.b.inside("sh", "-c", "umount /dev/"+portDevice+" 2>/dev/null; mount --bind "+guest.Name()+" /dev/"+portDevice)...)
	// What an earlier session has left comes first.
	if _, err := guest.WriteString("\x01left over from before"); err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	p.opened++
	return p.conn, nil
}

func (p *port) last() (*ported, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn, p.conn.passed
}

func (p *port) setBusy(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = yes
}

// testPort has a session over the port end in every way there is: what is redirected goes through the SSH server until
// there is another.
func testPort(t *testing.T, c *carried, e *ender) {
	t.Helper()
	p := c.port
	if _, passed := p.last(); passed < 8<<20 {
		t.Errorf("%d bytes have passed over the port", passed)
	}
	over := func(yes bool) func(wire.Report) bool {
		return func(r wire.Report) bool { return r.Way == catch.Redirect && r.Port == yes }
	}
	fetch := func(what string) {
		t.Helper()
		if out, err := c.curl("http://good.test/"); err != nil || out != "hello\n" {
			t.Errorf("%s: %q, %v", what, out, err)
		}
		c.load("bulk", 1, 1)
	}
	proxied := func(what string, yes bool) {
		t.Helper()
		for _, by := range []string{"--socks5-hostname 127.0.0.1:1080", "-x http://127.0.0.1:3128", "-p -x http://127.0.0.1:3128"} {
			_, before := p.last()
			if out, err := c.curl(append(strings.Fields(by), "http://good.test/")...); err != nil || out != "hello\n" {
				t.Errorf("%s, %s: %q, %v", what, by, out, err)
			}
			if _, after := p.last(); (after > before) != yes {
				t.Errorf("%s, %s: %d bytes came over the port", what, by, after-before)
			}
		}
	}
	proxied("at first", true)
	// Another method leaves connections that exist alone.
	use := c.idle()
	c.carrier.SetMethod(Off)
	c.await("")
	proxied("nothing redirected", false)
	c.carrier.SetMethod(catch.Redirect)
	c.await(catch.Redirect)
	if err := use(); err != nil {
		t.Errorf("open while the method was changed: %v", err)
	}
	for what, end := range map[string]func(*ported){
		"the host's end closed": func(conn *ported) { _ = conn.Close() },
		"garbage to the guest":  func(conn *ported) { _, _ = conn.Write([]byte(strings.Repeat("garbage ", 100))) },
	} {
		hold := ending(t, c.box, "held", "")
		out, err := hold.StdoutPipe()
		must(t, err)
		must(t, hold.Start())
		said := bufio.NewReader(out)
		if line, err := said.ReadString('\n'); line != "open\n" {
			t.Errorf("%s: a connection before: %q, %v", what, line, err)
		}
		p.setBusy(true)
		conn, _ := p.last()
		end(conn)
		c.awaitReport(what, over(false))
		e.seen(t, what)
		if err := hold.Wait(); err != nil {
			t.Errorf("%s: a connection before: %v", what, err)
		}
		_, before := p.last()
		fetch(what)
		proxied(what, false)
		if _, after := p.last(); after != before {
			t.Errorf("%s: %d bytes came over the port", what, after-before)
		}
		p.setBusy(false)
		c.awaitReport(what, over(true))
		fetch(what + ", and another session begun")
		proxied(what+", and another session begun", true)
		if conn, passed := p.last(); passed < 1<<20 {
			t.Errorf("%s: over the next session came %d bytes, %v", what, passed, conn.p.opened)
		}
	}
}
