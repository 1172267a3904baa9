package tart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// sshPort is where the guest's SSH server listens.
const sshPort = 22

// DialSSH implements vm.Dialer. An SSH server speaks first (RFC 4253 section 4.2).
func (d *Driver) DialSSH(ctx context.Context, name string) (net.Conn, error) {
	return d.DialPort(ctx, name, sshPort)
}

// DialPort implements vm.PortDialer. The way through the guest agent needs no address, no lease and no permission of the
// host's; only where the agent does not answer is the guest's address tried beside it. The connection is returned once
// the guest has said its first byte.
func (d *Driver) DialPort(ctx context.Context, name string, port uint16) (net.Conn, error) {
	if err := vm.ValidName(name); err != nil {
		return nil, err
	}
	if err := d.checkRunning(name); err != nil {
		return nil, fmt.Errorf("reaching %q: %w", name, err)
	}
	if err := d.checkVersion(ctx); err != nil {
		return nil, err
	}
	conn, err := d.dial(ctx, machineName(name), strconv.Itoa(int(port)))
	if err != nil {
		return nil, fmt.Errorf("reaching %q: %w", name, err)
	}
	return conn, nil
}

func (d *Driver) checkRunning(ws string) error {
	if _, err := os.Stat(d.dir(machineName(ws))); err != nil {
		return vm.ErrNotFound
	}
	pid, err := d.holder(machineName(ws))
	if err == nil && pid == 0 {
		err = vm.ErrNotRunning
	}
	return err
}

type dialed struct {
	conn net.Conn
	err  error
}

// dial takes the first of the two ways that leads to a greeting.
func (d *Driver) dial(ctx context.Context, name, port string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ways := make(chan dialed, 2)
	try := func(way func(_ context.Context, name, port string) (net.Conn, error)) {
		go func() {
			conn, err := way(ctx, name, port)
			ways <- dialed{conn, err}
		}()
	}
	try(d.dialAgent)
	waiting := 1
	patience := time.NewTimer(d.options.AgentPatience)
	defer patience.Stop()
	cut := d.cutOff(name)
	addressTried := cut // there is no address to reach
	tryAddress := func() {
		if !addressTried {
			addressTried = true
			waiting++
			try(d.dialAddress)
		}
	}
	var errs []error
	for waiting > 0 {
		select {
		case <-patience.C:
			tryAddress()
		case way := <-ways:
			waiting--
			if way.err == nil {
				go closeLosers(ways, waiting)
				return way.conn, nil
			}
			if errs = append(errs, way.err); ctx.Err() == nil {
				tryAddress()
			}
		}
	}
	err := errors.Join(errs...)
	if cut && strings.Contains(err.Error(), "Tart Guest Agent") {
		// There is no second way. Errors of booting guests read the same: it is for whoever has waited long enough.
		return nil, hint.Wrap(err,
			"The image needs the Tart guest agent: of macOS, the base images have it, vanilla ones do not.")
	}
	return nil, err
}

// cutOff tells whether a machine has no network to be reached over. One that was started by hand may have one although
// ours have none: its process says.
func (d *Driver) cutOff(name string) bool {
	if !d.options.CutNetwork {
		return false
	}
	e, err := d.inspect(name)
	return err != nil || e.Restricted
}

func closeLosers(ways <-chan dialed, n int) {
	for range n {
		if way := <-ways; way.err == nil {
			way.conn.Close()
		}
	}
}

// dialAgent goes through `tart exec` to a port of the guest's loopback (section 9: -i comes before the name).
func (d *Driver) dialAgent(ctx context.Context, name, port string) (net.Conn, error) {
	cmd := d.command(context.WithoutCancel(ctx), "exec", "-i", name, "nc", "127.0.0.1", port)
	c, err := newExecConn(cmd)
	if err != nil {
		return nil, err
	}
	first, err := greeted(ctx, c)
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("reaching it through the guest agent: %w", c.reason(err))
	}
	return first, nil
}

// dialAddress goes over the virtual network. Leases can be stale (row 48), so the address is asked for at each call,
// and of both of Tart's sources that need no agent.
func (d *Driver) dialAddress(ctx context.Context, name, port string) (net.Conn, error) {
	var errs []error
	tried := map[string]bool{}
	for _, resolver := range []string{"dhcp", "arp"} {
		out, err := d.once(ctx, "ip", name, "--resolver", resolver)
		ip := strings.TrimSpace(out)
		if err == nil && net.ParseIP(ip) == nil {
			err = fmt.Errorf("reading the guest's address: %.40q is none", ip)
		}
		if err != nil {
			errs = append(errs, d.noAddress(err))
			continue
		}
		if tried[ip] {
			continue
		}
		tried[ip] = true
		conn, err := d.dialIP(ctx, ip, port)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("reaching it by its address: %w", errors.Join(errs...))
}

// localNetworkHint is for a host that has not been allowed to reach its own guests (section 12). The connection through
// the guest agent needs no such permission.
const localNetworkHint = "Switch it on in System Settings > Privacy & Security > Local Network > CALMenu."

func (d *Driver) dialIP(ctx context.Context, ip, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := d.options.DialTCP(ctx, "tcp", net.JoinHostPort(ip, port))
	if errors.Is(err, syscall.EHOSTUNREACH) {
		err = fmt.Errorf("macOS does not let CALMenu reach it, although it runs: %w", err)
		return nil, hint.Wrap(err, localNetworkHint)
	}
	if err != nil {
		return nil, err
	}
	first, err := greeted(ctx, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return first, nil
}

// greeted waits for the first byte and gives it back to whoever reads next.
func greeted(ctx context.Context, c net.Conn) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	buf := make([]byte, 1)
	_, err := io.ReadFull(c, buf)
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &peeked{Conn: c, first: buf}, nil
}

type peeked struct {
	net.Conn
	mu    sync.Mutex // guards first
	first []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	p.mu.Lock()
	if len(p.first) > 0 {
		defer p.mu.Unlock()
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	p.mu.Unlock()
	return p.Conn.Read(b)
}

// CloseWrite passes on what the connection below can do.
func (p *peeked) CloseWrite() error {
	if c, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// execConn is a connection over the standard input and output of a command.
type execConn struct {
	cmd    *exec.Cmd
	in     *os.File // written to
	out    *os.File // read from
	errOut limitedBuffer
	ended  chan struct{} // closed when the command has ended and waitErr is set
	wait   error
	once   sync.Once
}

func newExecConn(cmd *exec.Cmd) (*execConn, error) {
	// Pipes of our own, not StdinPipe's: they take deadlines, and Wait does not close them under a reader.
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a pipe: %w", err), childIn.Close(), in.Close())
	}
	c := &execConn{cmd: cmd, in: in, out: out, errOut: limitedBuffer{limit: 16 << 10}, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = childIn, childOut, &c.errOut
	err = cmd.Start()
	err = errors.Join(err, childIn.Close(), childOut.Close())
	if err != nil {
		return nil, errors.Join(asCLIError("exec", err, ""), in.Close(), out.Close())
	}
	go func() {
		c.wait = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// reason is why a closed connection's command ended, or err if it says nothing.
func (c *execConn) reason(err error) error {
	<-c.ended
	if text := strings.TrimSpace(c.errOut.String()); text != "" && !errors.Is(err, context.Canceled) {
		return explain(asCLIError("exec", c.wait, text))
	}
	return err
}

func (c *execConn) Read(b []byte) (int, error)  { return c.out.Read(b) }
func (c *execConn) Write(b []byte) (int, error) { return c.in.Write(b) }

// CloseWrite tells the guest that nothing more will come.
func (c *execConn) CloseWrite() error { return c.in.Close() }

// Close ends the command and with it the connection in the guest.
func (c *execConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		_ = c.in.Close() // may be closed for writing already
		err = c.out.Close()
		select {
		case <-c.ended:
		default:
			_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
			<-c.ended
		}
	})
	return err
}

func (c *execConn) LocalAddr() net.Addr  { return execAddr(fmt.Sprintf("exec:%d", c.cmd.Process.Pid)) }
func (c *execConn) RemoteAddr() net.Addr { return execAddr(strings.Join(c.cmd.Args[1:], " ")) }

func (c *execConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
func (c *execConn) SetReadDeadline(t time.Time) error  { return c.out.SetReadDeadline(t) }
func (c *execConn) SetWriteDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }

// execAddr is the address of an execConn's end.
type execAddr string

func (execAddr) Network() string  { return "exec" }
func (a execAddr) String() string { return string(a) }
