package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/tunnel/sshuttle/sshuttletest"
)

const (
	guestBulk    = 48 << 20 // bytes to the guest, whose processor may be emulated
	guestSlow    = 4 << 20  // where Python does it
	echoedKeys   = 300
	keyTolerance = 20 // milliseconds a key may take longer at the 99th percentile
	upTime       = 3 * time.Minute
)

// tunnelInGuest measures the way out of a real guest from one end to the other.
func tunnelInGuest(ctx context.Context, b *bench) (err error) {
	ip, err := ownAddress()
	if err != nil {
		b.progress("not measured in a guest: %v", err)
		return nil
	}
	outside, stop, err := startOutside(ip)
	if err != nil {
		return err
	}
	defer stop()
	c, err := newCAL(b)
	if err != nil {
		return err
	}
	c.env = append(c.env, "CAL_NETWORK_ALLOW="+outside, "CAL_PROXY_MODE=on")
	defer func() { err = errors.Join(err, c.remove(fast)) }()
	if err := c.create(ctx, fast, ""); err != nil {
		return err
	}
	if _, _, err := c.run(ctx, "start", fast); err != nil {
		return err
	}
	agent := c.command(ctx)
	if err := agent.Start(); err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	defer func() {
		_ = agent.Cancel()
		_ = agent.Wait() // it was ended
	}()
	g := &guestWays{c: c, b: b, outside: outside, agent: agent.Process.Pid}
	if g.at, err = c.endpoint(ctx, fast); err != nil {
		return err
	}
	if g.client, err = g.at.connect(ctx); err != nil {
		return err
	}
	defer func() { _ = g.client.Close() }()
	return errors.Join(g.redirect(ctx), g.socks(ctx), g.keys(ctx), g.sshuttle(ctx), g.userNetwork(ctx))
}

// ownAddress is an address of this host that is not its loopback: what is dialled there in a guest leaves the guest.
func ownAddress() (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !strings.HasPrefix(n.IP.String(), "10.0.2.") {
			return n.IP.String(), nil
		}
	}
	return "", errors.New("this host has no address but its loopback's")
}

type guestWays struct {
	c       *cal
	b       *bench
	outside string
	agent   int // CALMenu's process that carries the guest's connections
	at      endpoint
	client  *guest.Client

	bulk, one []float64 // what redirect took: seconds for 100 MB, milliseconds for a small request
}

// in runs a shell script in the guest.
func (g *guestWays) in(ctx context.Context, script string) (string, error) {
	r, err := g.client.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", script}, Limit: 64 << 10})
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("in the guest: exit %d: %s%s", r.Exit, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout)), err
}

// until waits for a script to succeed in the guest.
func (g *guestWays) until(ctx context.Context, script string) error {
	ctx, cancel := context.WithTimeout(ctx, upTime)
	defer cancel()
	for {
		_, err := g.in(ctx, script)
		if err == nil {
			return nil
		}
		if wait(ctx, time.Second) != nil {
			return err
		}
	}
}

// shell runs a shell script in a guest.
type shell func(ctx context.Context, script string) (string, error)

// fetch gets bytes in the guest and returns what 100 MB would take, in seconds.
func (g *guestWays) fetch(ctx context.Context, size int, options string) (float64, error) {
	return fetch(ctx, g.in, g.outside, size, options)
}

func fetch(ctx context.Context, in shell, outside string, size int, options string) (float64, error) {
	script := fmt.Sprintf("curl -sS --max-time 120 -o /dev/null -w '%%{size_download} %%{time_total}' %s http://%s/%d",
		options, outside, size)
	out, err := in(ctx, script)
	if err != nil {
		return 0, err
	}
	got, took, _ := strings.Cut(out, " ")
	seconds, err := strconv.ParseFloat(took, 64)
	if err != nil || got != strconv.Itoa(size) {
		return 0, fmt.Errorf("fetched %q of %d bytes", out, size)
	}
	return seconds * 100e6 / float64(size), nil
}

// request returns what a small request takes in a guest, in milliseconds: the median of eight.
func request(ctx context.Context, in shell, outside, options string) (float64, error) {
	out, err := in(ctx, "for i in 1 2 3 4 5 6 7 8; do curl -sS --max-time 20 -o /dev/null -w '%{time_total}\\n' "+
		options+" http://"+outside+"/1; done | sort -n | sed -n 4p")
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	return seconds * 1000, err
}

// peerSOCKS are curl's options for the SOCKS proxy that OpenSSH serves in the guest.
const peerSOCKS = "--socks5 127.0.0.1:1090"

// remoteForward has OpenSSH serve a SOCKS proxy in the guest, and returns when that works.
func (g *guestWays) remoteForward(ctx context.Context) (*exec.Cmd, error) {
	peer, err := g.c.openSSH(ctx, fast)
	if err != nil {
		return nil, err
	}
	cmd := peer.command(ctx, []string{
		"-N", "-o", "ExitOnForwardFailure=yes", "-c", guest.Ciphers(g.at.Emulated)[0], "-R", "127.0.0.1:1090",
	})
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting ssh: %w", err)
	}
	if err := g.until(ctx, "curl -sS --max-time 20 -o /dev/null "+peerSOCKS+" http://"+g.outside+"/1"); err != nil {
		end(cmd)
		return nil, err
	}
	return cmd, nil
}

// redirect is the fast way, beside OpenSSH's.
func (g *guestWays) redirect(ctx context.Context) error {
	if err := g.until(ctx, "proxy-status | grep -q 'over the serial port'"); err != nil {
		return err
	}
	cmd, err := g.remoteForward(ctx)
	if err != nil {
		return err
	}
	defer end(cmd)
	var ours, theirs, oursOne, theirsOne []float64
	for range g.b.runs {
		for _, way := range []struct {
			options   string
			bulk, one *[]float64
		}{{"", &ours, &oursOne}, {peerSOCKS, &theirs, &theirsOne}} {
			s, err := g.fetch(ctx, guestBulk, way.options)
			if err != nil {
				return err
			}
			*way.bulk = append(*way.bulk, s)
			ms, err := request(ctx, g.in, g.outside, way.options)
			if err != nil {
				return err
			}
			*way.one = append(*way.one, ms)
		}
	}
	g.bulk, g.one = ours, oursOne
	v := median(ours)
	g.b.add(Figure{
		Name: "guest, transparent (redirect), 100 MB", Value: v, Unit: "s", Target: &Target{Max: 1.0, OfRatio: true},
		Note: fmt.Sprintf("%s MB/s; %s", number(100/v), spread(ours)),
	}.against("ssh -R SOCKS", median(theirs)))
	g.b.add(Figure{Name: "guest, transparent (redirect), one small request", Value: median(oursOne), Unit: "ms"}.
		against("ssh -R SOCKS", median(theirsOne)))
	return nil
}

// keys takes how long a byte takes to a program in the guest and back, with and without a download beside it.
func (g *guestWays) keys(ctx context.Context) error {
	idle, err := g.echoes(ctx)
	if err != nil {
		return err
	}
	loaded, err := g.at.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = loaded.Close() }()
	busy, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = loaded.Output(busy, guest.Cmd{Argv: []string{"curl", "-sS", "-o", "/dev/null", "http://" + g.outside + "/1073741824"}})
	}()
	err = wait(ctx, 2*time.Second)
	var during []float64
	if err == nil {
		during, err = g.echoes(ctx)
	}
	cancel()
	<-done
	if err != nil {
		return err
	}
	more := percentile(during, 99) - percentile(idle, 99)
	g.b.add(Figure{
		Name: "guest, a key's echo during a download, 99th percentile over idle", Value: max(more, 0), Unit: "ms",
		Target: &Target{Max: keyTolerance},
		Note: fmt.Sprintf("median %s idle, %s during; 99th %s and %s", number(median(idle)), number(median(during)),
			number(percentile(idle, 99)), number(percentile(during, 99))),
	})
	return nil
}

func (g *guestWays) echoes(ctx context.Context) ([]float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	var cat sync.WaitGroup
	cat.Go(func() {
		_, err := g.client.Stream(ctx, guest.Cmd{Argv: []string{"cat"}, Stdin: inR}, outW, nil)
		_ = outW.CloseWithError(cmp.Or(err, io.ErrUnexpectedEOF))
	})
	var took []float64
	var failed error
	b := []byte("k")
	for range echoedKeys {
		began := time.Now()
		if _, failed = inW.Write(b); failed == nil {
			_, failed = io.ReadFull(outR, b)
		}
		if failed != nil {
			break
		}
		took = append(took, time.Since(began).Seconds()*1000)
		if failed = wait(ctx, 10*time.Millisecond); failed != nil {
			break
		}
	}
	_ = inW.Close()
	cancel()
	cat.Wait()
	return took, failed
}

// sshuttle is stock sshuttle in the guest with our server and, after that, with its own, carried by OpenSSH.
func (g *guestWays) sshuttle(ctx context.Context) error {
	if _, err := g.in(ctx, "proxy-start sshuttle | grep 'by sshuttle'"); err != nil {
		return err
	}
	var ours, theirs []float64
	for range g.b.runs {
		s, err := g.fetch(ctx, guestSlow, "")
		if err != nil {
			return err
		}
		ours = append(ours, s)
	}
	if _, err := g.in(ctx, "proxy-stop"); err != nil {
		return err
	}
	python, stop, err := servePython(ctx, g.b.log)
	if err != nil {
		return err
	}
	defer stop()
	peer, err := g.c.openSSH(ctx, fast)
	if err != nil {
		return err
	}
	cmd := peer.command(ctx, []string{
		"-N", "-o", "ExitOnForwardFailure=yes", "-c", guest.Ciphers(g.at.Emulated)[0], "-R", "127.0.0.1:4100:" + python,
	})
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting ssh: %w", err)
	}
	defer end(cmd)
	const start = `p=$(ls -t ~/.cache/calmenu/calhelper-* | head -1); sudo -n setsid sshuttle --method nft --dns --disable-ipv6 ` +
		`-e "$p pipe 4100" -r peer -x 10.0.2.0/24 -x 127.0.0.0/8 0/0 </dev/null >/tmp/sshuttle.log 2>&1 & sleep 1`
	if _, err := g.in(ctx, start); err != nil {
		return err
	}
	if err := g.until(ctx, "curl -sS --max-time 20 -o /dev/null http://"+g.outside+"/1"); err != nil {
		return err
	}
	for range g.b.runs {
		s, err := g.fetch(ctx, guestSlow, "")
		if err != nil {
			return err
		}
		theirs = append(theirs, s)
	}
	v := median(ours)
	g.b.add(Figure{
		Name: "guest, transparent (stock sshuttle), 100 MB", Value: v, Unit: "s",
		Note: fmt.Sprintf("%s MB/s; %s", number(100/v), spread(ours)),
	}.against("sshuttle with its own server", median(theirs)))
	return nil
}

// servePython serves sshuttle's own server to whoever connects.
func servePython(ctx context.Context, log io.Writer) (string, func(), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				// The upload is thrown away, as by a person who does not want it executed.
				const discard = "import sys, os\nsys.stdin = os.fdopen(0, 'rb', 0)\nline = b''\nwhile line != b'sshuttle\\n':\n" +
					"    line = sys.stdin.readline()\nwhile line != b'\\n':\n    n = int(sys.stdin.readline())\n" +
					"    while n:\n        n -= len(sys.stdin.read(n))\n    line = sys.stdin.readline()\n"
				cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-c", discard+pythonServer(sshuttletest.StockWindow))
				f, err := conn.(*net.TCPConn).File()
				if err != nil {
					return
				}
				cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, log
				_ = cmd.Run() // its end is the connection's
				_ = f.Close()
			}()
		}
	}()
	return l.Addr().String(), func() { _ = l.Close() }, nil
}
