package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/sshuttle"
)

// What this program is called with to be one end of the tunnel, in a process of its own whose processor time is its own.
const (
	proxyVerb    = "tunnel-proxy"    // ENDPOINT ADDRESS RULE: the proxy, on a port of the server's
	lineVerb     = "tunnel-line"     // ADDRESS RULE: the proxy, over a direct connection to a guest's end that listens there
	guestVerb    = "tunnel-guest"    // PIN ADDRESS: that guest's end
	sshuttleVerb = "tunnel-sshuttle" // RULE: sshuttle's server, on standard input and output
)

// openGate is the tunnel's as CALMenu has it, with one rule and without what else decides.
func openGate(text string) (*tunnel.Gate, error) {
	rule, err := netpolicy.ParseRule(text)
	if err != nil {
		return nil, err
	}
	return &tunnel.Gate{
		Policy:   func() tunnel.Policy { return tunnel.Policy{Rules: []tunnel.Rule{rule}} },
		Upstream: func(*url.URL) (*url.URL, error) { return nil, nil },
		Own:      func() []netip.Prefix { return nil },
	}, nil
}

var errArguments = errors.New("unknown arguments")

func runTunnelSshuttle(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errArguments
	}
	g, err := openGate(args[0])
	if err != nil {
		return err
	}
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		return err
	}
	return sshuttle.Serve(ctx, conn, g)
}

func runTunnelProxy(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errArguments
	}
	g, err := openGate(args[2])
	if err != nil {
		return err
	}
	var e endpoint
	if err := json.Unmarshal([]byte(args[0]), &e); err != nil {
		return fmt.Errorf("reading the endpoint: %w", err)
	}
	c, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	l, err := c.Listen(args[1])
	if err != nil {
		return err
	}
	fmt.Println("up")
	// Its end is the end of standard input: who started it has ended.
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err = (&tunnel.Proxy{Gate: g}).Serve(ctx, l)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// connect is CALMenu's own client.
func (e endpoint) connect(ctx context.Context) (*guest.Client, error) {
	o, err := e.options()
	if err != nil {
		return nil, err
	}
	return guest.Connect(ctx, o)
}

func (e endpoint) options() (guest.Options, error) {
	text, err := os.ReadFile(e.Key)
	if err != nil {
		return guest.Options{}, fmt.Errorf("reading the key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return guest.Options{}, fmt.Errorf("reading the key: %w", err)
	}
	host, _, _, _, err := ssh.ParseAuthorizedKey([]byte(e.Host))
	if err != nil {
		return guest.Options{}, fmt.Errorf("reading the host key: %w", err)
	}
	var d net.Dialer
	return guest.Options{
		Dial: func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", e.Addr) },
		User: e.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKey: host, Ciphers: guest.Ciphers(e.Emulated),
		Timeout: time.Minute, Bulk: e.Bulk,
	}, nil
}
