// Package carrier leads a guest's connections to a tunnel.Gate over the SSH connection into that guest: ports on the
// guest's loopback that its SSH server forwards here, and CALMenu's program in the guest (cmd/calhelper, package catch),
// which has the kernel or sshuttle lead there what programs send without knowing of any proxy. Where there is a line past
// the SSH server, what the kernel redirects goes over that, and with it what is said to the proxy's ports, which the kernel
// then redirects too. The line is the machine's serial port, if it has one: an emulated guest's SSH server is many times as
// slow. Otherwise it is a connection of their own (package direct), which takes less of the processor than SSH.
//
// What must hold: no port is opened on the host, and the guest gets no key, shell or interpreter on it. One guest costs a
// bounded number of connections, lookups and bytes, whatever it sends. The parts fail and start again one by one.
package carrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/sshuttle"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// Ports of the guest's loopback. Each is served by the same gate: which one a guest's program dials gives it no rights.
const (
	ProxyPort  = 3128 // HTTP and SOCKS5
	SOCKSPort  = 1080 // the same, where SOCKS is looked for
	caughtPort = 3129 // connections the guest's kernel redirects
	streamPort = 3130 // sshuttle's conversation with its server
)

// proxyPorts are those of the proxy.
var proxyPorts = []uint16{ProxyPort, SOCKSPort}

const (
	maxCaught  = 200         // connections at once; what is left of the client's bound, and the port's, is for the proxy
	maxStreams = 4           // of sshuttle: one, and those that have not ended yet
	restart    = time.Second // after what failed, at first
	maxRestart = 30 * time.Second
	tellAgain  = 10 * time.Minute // of what goes on failing
)

// Off is the method that catches nothing; the others are catch.Auto, catch.Redirect and catch.Sshuttle.
const Off = catch.Off

// Carrier carries one guest's connections, over one connection to it after the other.
type Carrier struct {
	// Gate judges, dials and records.
	Gate *tunnel.Gate
	// Ensure puts CALMenu's program into the guest and returns its file; usually helper.Ensure.
	Ensure func(context.Context, *guest.Client) (string, error)
	// Port, unless nil, opens the host's end of the machine's serial port vm.NetworkPort, as a driver's DialSerial does.
	Port func(context.Context) (net.Conn, error)
	// DialPort, unless nil, opens a connection to a TCP port of the guest, as a driver's DialPort does. It is used where
	// there is no Port.
	DialPort func(ctx context.Context, port uint16) (net.Conn, error)
	// OnReport, unless nil, is told what catches the guest's connections, whenever that changes.
	OnReport func(wire.Report)
	// Problem, unless nil, is told what failed and will be tried again; of what goes on failing every ten minutes.
	Problem func(error)

	mu      sync.Mutex    // guards both
	method  string        // "" is Off
	changed chan struct{} // closed when it changes; nil if nobody waits
}

// SetMethod says how connections are caught, from now on. Connections that exist are left alone.
func (r *Carrier) SetMethod(method string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if method == r.method {
		return
	}
	r.method = method
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// wanted is the present method, and what is closed when another one is.
func (r *Carrier) wanted() (string, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return cmp.Or(r.method, Off), r.changed
}

// Serve carries over one connection until it or ctx ends. The error is why.
func (r *Carrier) Serve(ctx context.Context, c *guest.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	defer parts.Wait()
	part := func(f func(context.Context) error) {
		parts.Go(func() {
			pause, told := restart, time.Time{}
			for ctx.Err() == nil {
				begun := time.Now()
				err := f(ctx)
				if ctx.Err() != nil {
					return
				}
				if time.Since(begun) > maxRestart {
					pause = restart
				}
				if err != nil {
					if pause < maxRestart || time.Since(told) > tellAgain { // else it fails each time
						r.problem(err)
						told = time.Now()
					}
					wait(ctx, pause)
					pause = min(2*pause, maxRestart)
				}
			}
		})
	}
	// The listeners first: each would be tried again by itself, but what is dialled before it is there is refused.
	origins, places := newCaught(r.Gate), make(chan struct{}, maxCaught)
	proxy := &tunnel.Proxy{Gate: r.Gate}
	for _, port := range proxyPorts {
		part(func(ctx context.Context) error {
			return r.serveProxy(ctx, c, int(port), proxy, origins, &parts)
		})
	}
	streams := func(ctx context.Context, conn net.Conn) { _ = sshuttle.Serve(ctx, conn, r.Gate) }
	part(func(ctx context.Context) error {
		return r.serve(ctx, c, streamPort, make(chan struct{}, maxStreams), streams)
	})
	part(func(ctx context.Context) error { return r.serve(ctx, c, caughtPort, places, origins.carry) })
	var open func(context.Context) (line, error)
	switch {
	case r.Port != nil:
		open = r.openSerial
	case r.DialPort != nil:
		open = r.openDirect
	}
	if open != nil {
		part(func(ctx context.Context) error { return r.overLine(ctx, &lineServer{origins, places, proxy}, open) })
	}
	part(func(ctx context.Context) error { return r.converse(ctx, c, origins) })
	select {
	case <-c.Done():
		cancel(c.Err())
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

func (r *Carrier) problem(err error) {
	if r.Problem != nil {
		r.Problem(err)
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// listen takes a port of the guest's loopback. If another connection's server still holds it, that one is a dead
// connection's: one process carries a guest at a time.
func (r *Carrier) listen(ctx context.Context, c *guest.Client, port int) (*guest.Listener, error) {
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := c.Listen(at)
	if err == nil || c.Err() != nil || r.Ensure == nil {
		return l, err
	}
	program, eerr := r.Ensure(ctx, c)
	if eerr != nil {
		return nil, errors.Join(err, eerr)
	}
	result, ferr := c.Output(ctx, guest.Cmd{Argv: []string{"sudo", "-n", program, "free", strconv.Itoa(port)}, Limit: 4 << 10})
	if ferr == nil && result.Exit != 0 {
		ferr = fmt.Errorf("freeing port %d in the guest: %q", port, result.Stderr)
	}
	if ferr != nil {
		return nil, errors.Join(err, ferr)
	}
	return c.Listen(at)
}

// serveProxy has the SSH server lead a port of the proxy's here until the guest's program takes it over. Then it returns nil;
// connections go on, as one of parts.
func (r *Carrier) serveProxy(
	ctx context.Context, c *guest.Client, port int, proxy *tunnel.Proxy, g *caught, parts *sync.WaitGroup,
) error {
	if err := g.until(ctx, func(p wire.Report) bool { return !p.Proxy }); err != nil {
		return err
	}
	l, err := r.listen(ctx, c, port)
	if err != nil {
		return err
	}
	parts.Go(func() { _ = proxy.Serve(ctx, l) }) // fails with the connection to the guest, or when it is to
	if err := g.until(ctx, func(p wire.Report) bool { return p.Proxy }); err != nil {
		return errors.Join(err, l.Close())
	}
	return l.Stop(ctx)
}

// serve hands each connection to a port to f, as long as there are places; others are closed.
func (r *Carrier) serve(
	ctx context.Context, c *guest.Client, port int, places chan struct{}, f func(context.Context, net.Conn),
) error {
	l, err := r.listen(ctx, c, port)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() {
		cancel()
		_ = l.Close()
		running.Wait()
	}()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			return fmt.Errorf("serving port %d of the guest: %w", port, err)
		}
		select {
		case places <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		running.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			f(ctx, conn)
		})
	}
}

// converse runs CALMenu's program in the guest once, from when there is something to catch, or a line to serve the proxy
// over. If there is nothing to catch any more it stays: it may carry connections.
func (r *Carrier) converse(ctx context.Context, c *guest.Client, origins *caught) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	method, changed := r.wanted()
	if method == Off {
		r.report(wire.Report{})
		if r.Port == nil && r.DialPort == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			return nil
		}
	}
	program, err := r.Ensure(ctx, c)
	if err != nil {
		if method != Off {
			r.report(wire.Report{Problem: err.Error()})
		}
		return err
	}
	argv := []string{
		"sudo", "-n", program, "tunnel", "-method", method, "-port", strconv.Itoa(caughtPort), "-stream", strconv.Itoa(streamPort),
		"-serial", vm.NetworkPort, "-proxy", fmt.Sprintf("%d,%d", ProxyPort, SOCKSPort),
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	talked := make(chan error, 1)
	out := wire.NewWriter(inW)
	go func() {
		err := origins.converse(ctx, wire.NewReader(outR), out, r.report)
		_ = outR.CloseWithError(err)
		_ = inW.Close()
		talked <- err
	}()
	// Its input's end has the program put everything back.
	defer context.AfterFunc(ctx, func() { _ = inW.Close() })()
	followed := make(chan struct{})
	defer func() { <-followed }()
	defer cancel()
	go func() {
		defer close(followed)
		r.follow(ctx, out, changed)
	}()
	said := &firstLine{}
	exit, err := c.Stream(ctx, guest.Cmd{Argv: argv, Stdin: inR}, outW, said)
	_ = inR.Close()
	_ = outW.Close()
	talk := <-talked
	r.report(wire.Report{})
	switch {
	case err != nil:
		return err
	case exit != 0:
		return fmt.Errorf("the guest's program ended with status %d: %q", exit, said.text())
	}
	return talk
}

// follow tells the guest's program of every other method, until ctx ends or nobody listens.
func (r *Carrier) follow(ctx context.Context, out *wire.Writer, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		var method string
		method, changed = r.wanted()
		if out.Send(wire.Frame{Kind: wire.Method, Payload: []byte(method)}) != nil {
			return
		}
	}
}

func (r *Carrier) report(p wire.Report) {
	if r.OnReport != nil {
		r.OnReport(p)
	}
}

// firstLine keeps the first bytes of what is written.
type firstLine struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.b = append(f.b, p[:min(len(p), 400-len(f.b))]...)
	return len(p), nil
}

func (f *firstLine) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.b)
}
