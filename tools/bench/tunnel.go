package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/sshuttle/sshuttletest"
)

const (
	bulkSize       = 512 << 20 // bytes through a SOCKS proxy on this host
	sshuttleSize   = 128 << 20 // and through a server of sshuttle's; Python's is slow
	connectionsPer = 300       // to take the latency of
)

// tunnels measures how the guest's connections get out, beside OpenSSH's own forwarding and sshuttle's own server.
func tunnels(ctx context.Context, b *bench) (err error) {
	dir, err := os.MkdirTemp("", "calmenu-bench-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	outside, stop, err := startOutside("127.0.0.1")
	if err != nil {
		return err
	}
	defer stop()
	return errors.Join(socksFigures(ctx, b, dir, outside), sshuttleFigures(ctx, b, outside), tunnelInGuest(ctx, b))
}

// flow is one way through.
type flow struct {
	name string
	pid  int
	dial func(ctx context.Context) (net.Conn, error)
	// move, unless nil, is how bytes pass that are sent by somebody else than this program; it returns how long it took.
	move func(ctx context.Context, kind byte, size int64) (time.Duration, error)
}

// cost is what a gigabyte takes, in seconds: of the clock, and of the processor of the process that stands for the host.
type cost struct{ clock, processor float64 }

// pass sends or gets size bytes and takes the cost.
func (f flow) pass(ctx context.Context, kind byte, size int64) (cost, error) {
	move := f.move
	if move == nil {
		move = f.transfer
	}
	before, err := usedBy(f.pid)
	if err != nil {
		return cost{}, err
	}
	took, err := move(ctx, kind, size)
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w", f.name, err)
	}
	after, err := usedBy(f.pid)
	per := 1e9 / float64(size)
	return cost{took.Seconds() * per, (after - before) * per}, err
}

func (f flow) transfer(ctx context.Context, kind byte, size int64) (time.Duration, error) {
	conn, err := f.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	began := time.Now()
	err = transfer(conn, kind, size)
	return time.Since(began), err
}

// direction is what is measured of flows, and the ratios that are aimed at.
type direction struct {
	name             string
	kind             byte // 'd' or 'u'
	size             int64
	clock, processor float64 // 0: none
	per              float64 // bytes of the clock's figure; 0 is 1 GB
}

// duelOf measures flows, of which the first is ours, in turns and adds the figures of one direction.
func duelOf(ctx context.Context, b *bench, way direction, all []flow) error {
	ours, peers := all[0], all[1:]
	costs := map[string][]cost{}
	for range b.runs {
		for _, f := range all {
			c, err := f.pass(ctx, way.kind, way.size)
			if err != nil {
				return err
			}
			costs[f.name] = append(costs[f.name], c)
		}
	}
	of := func(f flow, get func(cost) float64) (list []float64) {
		for _, c := range costs[f.name] {
			list = append(list, get(c))
		}
		return list
	}
	per := cmp.Or(way.per, 1e9)
	unit := "1 GB"
	if per < 1e9 {
		unit = number(per/1e6) + " MB"
	}
	clockOf, processorOf := func(c cost) float64 { return c.clock * per / 1e9 }, func(c cost) float64 { return c.processor }
	for _, p := range peers {
		value := median(of(ours, clockOf))
		b.add(Figure{
			Name: way.name + ", " + unit, Value: value, Unit: "s", Target: ratioOf(way.clock),
			Note: fmt.Sprintf("%s MB/s; %s", number(per/1e6/value), spread(of(ours, clockOf))),
		}.against(p.name, median(of(p, clockOf))))
		b.add(Figure{
			Name: way.name + ", processor for 1 GB", Value: median(of(ours, processorOf)), Unit: "s",
			Target: ratioOf(way.processor), Note: spread(of(ours, processorOf)),
		}.against(p.name, median(of(p, processorOf))))
	}
	return nil
}

// ratioOf is a target for a ratio; 0 is none.
func ratioOf(most float64) *Target {
	if most == 0 {
		return nil
	}
	return &Target{Max: most, OfRatio: true}
}

func socksFigures(ctx context.Context, b *bench, dir, outside string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := startLoopback(ctx, dir)
	if err != nil {
		return err
	}
	defer l.stop()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	peer, err := l.peer()
	if err != nil {
		return err
	}
	var ports [4]string
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return err
		}
	}
	server := l.ours()
	server.Bulk = true
	at, err := json.Marshal(server)
	if err != nil {
		return err
	}
	var flows []flow
	for i, argv := range [][]string{
		{lineVerb, "127.0.0.1:" + ports[0], outside},
		{proxyVerb, string(at), "127.0.0.1:" + ports[1], outside},
	} {
		ours := exec.CommandContext(ctx, self, argv...)
		ours.Stderr = b.log
		if err := startUp(ours); err != nil {
			return err
		}
		defer end(ours)
		flows = append(flows, flow{
			name: []string{"CALMenu", "CALMenu by SSH"}[i], pid: ours.Process.Pid, dial: throughSOCKS("127.0.0.1:"+ports[i], outside),
		})
	}
	for i, option := range []string{"-R", "-D"} {
		address := "127.0.0.1:" + ports[i+2]
		cmd := peer.command(ctx, []string{"-N", "-o", "ExitOnForwardFailure=yes", "-c", "aes128-gcm@openssh.com", option, address})
		cmd.Stderr = b.log
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("starting ssh: %w", err)
		}
		defer end(cmd)
		if err := untilListening(ctx, address); err != nil {
			return err
		}
		flows = append(flows, flow{
			name: "ssh " + option, pid: cmd.Process.Pid, dial: throughSOCKS(address, outside),
		})
	}
	// Over SSH alone is how the proxy is reached until there is a line, and where there can be none.
	lines, alone := append(flows[:1:1], flows[2:]...), flows[1:]
	var failed error
	for _, way := range []struct {
		direction
		flows []flow
	}{
		{direction{name: "SOCKS, to the guest", kind: 'd', size: bulkSize, clock: 1.0, processor: 1.2}, lines},
		{direction{name: "SOCKS, from the guest", kind: 'u', size: bulkSize, clock: 1.0, processor: 1.2}, lines},
		{direction{name: "SOCKS over SSH alone, to the guest", kind: 'd', size: bulkSize}, alone},
		{direction{name: "SOCKS over SSH alone, from the guest", kind: 'u', size: bulkSize}, alone},
	} {
		failed = errors.Join(failed, duelOf(ctx, b, way.direction, way.flows))
	}
	return errors.Join(failed, connectionFigures(ctx, b, lines))
}

// connectionFigures takes the latency of a connection, and of a request over one that stands.
func connectionFigures(ctx context.Context, b *bench, flows []flow) error {
	opened, asked := map[string][]float64{}, map[string][]float64{}
	for range connectionsPer {
		for _, f := range flows[:2] {
			began := time.Now()
			conn, err := f.dial(ctx)
			if err != nil {
				return err
			}
			word := []byte("e1234567")
			for i := range 2 {
				if i == 1 {
					began = time.Now()
				}
				if _, err = conn.Write(word); err == nil {
					_, err = io.ReadFull(conn, word)
				}
				if ms := time.Since(began).Seconds() * 1000; i == 0 {
					opened[f.name] = append(opened[f.name], ms)
				} else {
					asked[f.name] = append(asked[f.name], ms)
				}
			}
			_ = conn.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	ours, peer := flows[0].name, flows[1].name
	b.add(Figure{Name: "SOCKS, a connection and its first answer", Value: median(opened[ours]), Unit: "ms"}.
		against(peer, median(opened[peer])))
	b.add(Figure{Name: "SOCKS, a further answer", Value: median(asked[ours]), Unit: "ms"}.against(peer, median(asked[peer])))
	return nil
}

// pythonServer is sshuttle's own server, started as its assembler starts it for a client with this --latency-buffer-size.
func pythonServer(window int) string {
	return fmt.Sprintf("import sshuttle.helpers\nsshuttle.helpers.verbose = 0\nfrom sshuttle.server import main\n"+
		"main(True, %d, False, None, False)\n", window)
}

// sshuttleFigures measures with a client as CALMenu starts it in a guest, and as it is by itself.
func sshuttleFigures(ctx context.Context, b *bench, outside string) error {
	return errors.Join(
		sshuttleDuel(ctx, b, outside, catch.LatencyBuffer, []direction{
			{name: "sshuttle server, to the client", kind: 'd', size: sshuttleSize, clock: 0.2, processor: 0.2},
			{name: "sshuttle server, from the client", kind: 'u', size: sshuttleSize, clock: 0.2, processor: 0.2},
		}),
		sshuttleDuel(ctx, b, outside, sshuttletest.StockWindow, []direction{
			{name: "sshuttle server, from the client with its own buffer", kind: 'u', size: sshuttleSize},
		}))
}

func sshuttleDuel(ctx context.Context, b *bench, outside string, window int, ways []direction) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var flows []flow
	for _, s := range []struct {
		name, upload string
		argv         []string
	}{
		{"CALMenu", sshuttletest.Upload, []string{self, sshuttleVerb, outside}},
		{"sshuttle's own server", "", []string{"/usr/bin/python3", "-c", pythonServer(window)}},
	} {
		cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
		conn, err := startOnSocket(cmd, b.log)
		if err != nil {
			return fmt.Errorf("starting %s: %w", s.name, err)
		}
		defer end(cmd)
		c, err := sshuttletest.New(conn, s.upload)
		if err != nil {
			return fmt.Errorf("talking to %s: %w", s.name, err)
		}
		c.Window = window
		defer func() { _ = c.Close() }()
		flows = append(flows, flow{name: s.name, pid: cmd.Process.Pid, dial: func(context.Context) (net.Conn, error) {
			conn, err := c.Dial(outside)
			if err != nil {
				return nil, err
			}
			return streamConn{Conn: nil, s: conn}, nil
		}})
	}
	var failed error
	for _, way := range ways {
		failed = errors.Join(failed, duelOf(ctx, b, way, flows))
	}
	return failed
}

// streamConn is one of sshuttle's connections as transfer wants it.
type streamConn struct {
	net.Conn
	s *sshuttletest.Conn
}

func (c streamConn) Read(p []byte) (int, error)  { return c.s.Read(p) }
func (c streamConn) Write(p []byte) (int, error) { return c.s.Write(p) }
func (c streamConn) Close() error                { return c.s.Close() }
func (c streamConn) CloseWrite() error           { return c.s.CloseWrite() }

// startOnSocket starts a program whose standard input and output are one socket.
func startOnSocket(cmd *exec.Cmd, log io.Writer) (net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, err
	}
	near, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	defer func() { _ = errors.Join(near.Close(), far.Close()) }()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = far, far, log
	conn, err := net.FileConn(near)
	if err != nil {
		return nil, err
	}
	return conn, cmd.Start()
}

// startUp starts a program and waits until it says that it is up. It ends when its input does.
func startUp(cmd *exec.Cmd) error {
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "up" {
		return fmt.Errorf("%s is not up: %q, %w", cmd.Args[1], line, err)
	}
	return nil
}

// end kills a program that is no longer needed.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

func untilListening(ctx context.Context, address string) error {
	for range 200 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("nothing listens on %s", address)
}
