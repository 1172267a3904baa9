package carrier

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// tap counts what comes to the host over the connections of a line, and knows the last of them.
type tap struct {
	mu     sync.Mutex // guards what follows
	conn   *tapped    // the last
	opened int
	busy   bool
}

type tapped struct {
	net.Conn
	of     *tap
	passed int64
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.passed += int64(n)
	return n, err
}

// open opens another connection, unless the line is busy.
func (p *tap) open(dial func() (net.Conn, error)) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		return nil, vm.ErrBusy
	}
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	p.conn = &tapped{Conn: conn, of: p}
	p.opened++
	return p.conn, nil
}

func (p *tap) last() (*tapped, int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn, p.conn.passed
}

// came is how much has come over the last connection, in bytes.
func (p *tap) came() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return 0
	}
	return p.conn.passed
}

func (p *tap) setBusy(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = yes
}

// port stands for a machine's serial port: a terminal, new each time it is opened on the host, that the box finds where
// Linux has such ports.
type port struct {
	tap
	b *box
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
	closed   sync.Once
}

func (c *ported) Read(b []byte) (int, error)  { return c.f.Read(b) }
func (c *ported) Write(b []byte) (int, error) { return c.f.Write(b) }

func (c *ported) Close() (err error) {
	c.closed.Do(func() { err = errors.Join(c.guest.Close(), c.f.Close()) })
	return err
}

func (p *port) dial(context.Context) (net.Conn, error) { return p.open(p.terminal) }

func (p *port) terminal() (net.Conn, error) {
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
	conn := &ported{f: os.NewFile(uintptr(fd), "port"), guest: guest}
	command(p.b.t, p.b.inside("sh", "-c", "umount /dev/"+portDevice+" 2>/dev/null; mount --bind "+guest.Name()+" /dev/"+portDevice)...)
	// What an earlier session has left comes first.
	if _, err := guest.WriteString("\x01left over from before"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// agent stands for the way to a guest's ports that a driver has: a program in the box that dials its loopback.
type agent struct {
	tap
	b *box
}

func (a *agent) dialPort(_ context.Context, port uint16) (net.Conn, error) {
	return a.open(func() (net.Conn, error) {
		near, f, err := nettest.Pair()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		line := a.b.inside(a.b.helper, "pipe", strconv.Itoa(int(port)))
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Stdin, cmd.Stdout = f, f
		return near, a.b.start(cmd)
	})
}

// proxied fetches by a proxy. It is patient with the moment between the SSH server's letting go of the port and the guest's
// program's listening there, of which curl says nothing then.
func (b *box) proxied(by []string, url string) (string, error) {
	args := append([]string{"--retry", "10", "--retry-delay", "1", "--retry-connrefused", "--no-show-error"}, by...)
	return b.curl(append(args, url)...)
}

// testLine has a session over a line end in every way there is: what is redirected goes through the SSH server until there
// is another.
func testLine(t *testing.T, c *carried, e *ender) {
	t.Helper()
	p := c.line
	if _, passed := p.last(); passed < 8<<20 {
		t.Errorf("%d bytes have passed over the line", passed)
	}
	over := func(yes bool) func(wire.Report) bool {
		return func(r wire.Report) bool { return r.Way == catch.Redirect && (r.Line != "") == yes }
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
			before := p.came()
			if out, err := c.proxied(strings.Fields(by), "http://good.test/"); err != nil || out != "hello\n" {
				t.Errorf("%s, %s: %q, %v", what, by, out, err)
			}
			if after := p.came(); (after > before) != yes {
				t.Errorf("%s, %s: %d bytes came over the line", what, by, after-before)
			}
		}
	}
	proxied("at first", true)
	// Another method leaves connections that exist alone.
	idle, busy := c.idle(), c.busy()
	c.carrier.SetMethod(Off)
	c.awaitReport("nothing redirected", func(r wire.Report) bool { return r.Way == "" && r.Proxy })
	proxied("nothing redirected", true)
	c.carrier.SetMethod(catch.Redirect)
	c.await(catch.Redirect)
	if err := errors.Join(idle(), busy()); err != nil {
		t.Errorf("open while the method was changed: %v", err)
	}
	for what, end := range map[string]func(net.Conn){
		"the host's end closed": func(conn net.Conn) { _ = conn.Close() },
		"garbage to the guest":  func(conn net.Conn) { _, _ = conn.Write([]byte(strings.Repeat("garbage ", 100))) },
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
			t.Errorf("%s: %d bytes came over the line", what, after-before)
		}
		p.setBusy(false)
		c.awaitReport(what, over(true))
		fetch(what + ", and another session begun")
		proxied(what+", and another session begun", true)
		if conn, passed := p.last(); passed < 1<<20 {
			t.Errorf("%s: over the next session came %d bytes, %v", what, passed, conn.of.opened)
		}
	}
}
