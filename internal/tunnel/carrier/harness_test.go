package carrier

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// box stands for a guest: namespaces of their own for network and mounts, a network that leads nowhere, and Debian's SSH
// server, which answers on a pipe from the host. What runs in it is real but for the processor and the kernel.
type box struct {
	t       testing.TB
	dir     string
	pid     int
	id      *guest.Identity
	sshd    []string
	at      string // where its SSH server listens; "" is nowhere: one is started for each connection
	helper  string
	mu      sync.Mutex // guards servers
	servers []*exec.Cmd
}

const holdScript = `mount -t tmpfs tmpfs /run && mkdir -p /run/sshd && ip link set lo up &&
ip tuntap add t0 mode tun && ip addr add 10.0.2.15/24 dev t0 && ip link set t0 up && ip route add default via 10.0.2.2 &&
printf 'nameserver 10.0.2.3\noptions timeout:2 attempts:1\n' >"$1" && mount --bind "$1" /etc/resolv.conf &&
echo up && exec cat`

func newBox(t testing.TB) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for namespaces of its own")
	}
	for _, p := range []string{"/usr/sbin/sshd", "nft", "nsenter", "ip", "sshuttle", "curl"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	dir := t.TempDir()
	b := &box{t: t, dir: dir, helper: filepath.Join(dir, "calhelper")}
	build := exec.Command("go", "build", "-o", b.helper, "github.com/calmenu/calmenu/cmd/calhelper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hold := exec.Command("unshare", "-n", "-m", "--propagation", "private", "sh", "-c", holdScript, "sh", filepath.Join(dir, "resolv"))
	in, err := hold.StdinPipe()
	must(t, err)
	out, err := hold.StdoutPipe()
	must(t, err)
	hold.Stderr = os.Stderr
	must(t, hold.Start())
	t.Cleanup(func() {
		in.Close()
		_ = hold.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Skipf("needs namespaces of its own: %q, %v", line, err)
	}
	b.pid = hold.Process.Pid
	b.id, err = guest.EnsureIdentity(filepath.Join(dir, "keys"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "host_key"), b.id.HostKeyPEM(), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "authorized"), b.id.AuthorizedKey(), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "bin/sudo"), []byte("#!/bin/sh\nshift\nexec \"$@\"\n"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "sshd_config"), fmt.Appendf(nil, "HostKey %s/host_key\nAuthorizedKeysFile %[1]s/authorized\n"+
		"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\nMaxStartups 64\nSubsystem sftp internal-sftp\n"+
		"SetEnv PATH=%[1]s/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin LC_ALL=C\n", dir), 0o600))
	b.sshd = b.inside("/usr/sbin/sshd", "-i", "-e", "-f", filepath.Join(dir, "sshd_config"))
	t.Cleanup(b.stop)
	return b
}

// inside is the command line that runs a program in the box.
func (b *box) inside(argv ...string) []string {
	return append([]string{"nsenter", "-t", strconv.Itoa(b.pid), "-n", "-m", "--"}, argv...)
}

// run runs a program in the box, without any proxy setting.
func (b *box) run(argv ...string) (string, error) {
	line := b.inside(argv...)
	cmd := exec.CommandContext(b.t.Context(), line[0], line[1:]...)
	cmd.Env = []string{"PATH=" + b.dir + "/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", "HOME=" + b.dir}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// dial starts an SSH server for one connection, unless there is one that listens.
func (b *box) dial(ctx context.Context) (net.Conn, error) {
	if b.at != "" {
		return (&net.Dialer{}).DialContext(ctx, "tcp", b.at)
	}
	near, f, err := nettest.Pair()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(b.sshd[0], b.sshd[1:]...)
	cmd.Stdin, cmd.Stdout = f, f
	return near, b.start(cmd)
}

// start starts a server that ends with the test.
func (b *box) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.servers = append(b.servers, cmd)
	return nil
}

func (b *box) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.servers {
		_ = s.Process.Kill()
		_ = s.Wait()
	}
}

func (b *box) options() guest.Options {
	return guest.Options{
		Dial: b.dial, User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(b.id.Signer())}, HostKey: b.id.HostPublic(),
	}
}

// names resolves as a test says.
type names map[string]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n[host]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// gate leads 8.8.8.8 to a server on the host's loopback that stands for the internet.
func gate(t testing.TB, outside string, allow ...string) *tunnel.Gate {
	t.Helper()
	return gateTo(t, map[string]string{"7": outside, "80": outside, "443": outside}, allow...)
}

// nowhere is where a connection gets no answer from.
const nowhere = "nowhere"

// gateTo leads each port of 8.8.8.8 to a server on the host's loopback, or nowhere.
func gateTo(t testing.TB, servers map[string]string, allow ...string) *tunnel.Gate {
	t.Helper()
	var p tunnel.Policy
	for _, a := range allow {
		r, err := netpolicy.ParseRule(a)
		must(t, err)
		p.Rules = append(p.Rules, r)
	}
	return &tunnel.Gate{
		Policy:   func() tunnel.Policy { return p },
		Resolver: names{"good.test": "8.8.8.8", "also.test": "8.8.8.8"},
		Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
		Own:      func() []netip.Prefix { return nil },
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(address)
			to := servers[port]
			switch {
			case host != "8.8.8.8" || to == "":
				return nil, fmt.Errorf("dialled %s", address)
			case to == nowhere:
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
	}
}

// carried is a box whose connections are carried.
type carried struct {
	*box
	line    *tap // nil: none
	link    *guest.Link
	carrier *Carrier
	reports chan wire.Report
}

func carry(t testing.TB, b *box, g *tunnel.Gate, method string) *carried {
	t.Helper()
	return carryOver(t, b, g, method, "")
}

// carryOver carries over a line too, unless that is "".
func carryOver(t testing.TB, b *box, g *tunnel.Gate, method string, over wire.Line) *carried {
	t.Helper()
	c := &carried{box: b, reports: make(chan wire.Report, 64)}
	c.link = guest.NewLink(b.options(), nil)
	c.carrier = &Carrier{
		Gate:     g,
		Ensure:   func(context.Context, *guest.Client) (string, error) { return b.helper, nil },
		OnReport: func(r wire.Report) { c.reports <- r },
		Problem:  func(err error) { t.Logf("tried again: %v", err) },
	}
	switch over {
	case wire.OverSerial:
		p := b.port()
		c.line, c.carrier.Port = &p.tap, p.dial
	case wire.OverDirect:
		a := &agent{b: b}
		c.line, c.carrier.DialPort = &a.tap, a.dialPort
	}
	c.carrier.SetMethod(method)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			client, err := c.link.Client(ctx)
			if err != nil {
				return
			}
			if err := c.carrier.Serve(ctx, client); ctx.Err() != nil {
				return
			} else {
				t.Logf("served: %v", err)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = c.link.Close()
		<-done
	})
	return c
}

// await waits until a way is in force.
func (c *carried) await(way string) wire.Report {
	c.t.Helper()
	return c.awaitReport(way, func(r wire.Report) bool {
		return r.Way == way && (c.line == nil || way != catch.Redirect || r.Line != "")
	})
}

func (c *carried) awaitReport(what string, good func(wire.Report) bool) wire.Report {
	c.t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		select {
		case r := <-c.reports:
			if good(r) {
				return r
			}
			c.t.Logf("report %+v", r)
		case <-limit:
			c.t.Fatalf("%q is not in force", what)
		}
	}
}

// hello is a web server's answer; echo for what is no request.
func hello(conn *net.TCPConn) { sayHello(conn, bufio.NewReader(conn)) }

func sayHello(conn *net.TCPConn, in *bufio.Reader) {
	first, _ := in.Peek(4)
	if string(first) != "GET " {
		_, _ = io.Copy(conn, in)
		_ = conn.CloseWrite()
		return
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
}
