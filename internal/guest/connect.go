package guest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/hint"
)

// Options say how a guest is reached.
type Options struct {
	// Dial opens a byte stream to the guest's SSH server; usually vm.Dialer.DialSSH of one machine.
	Dial func(context.Context) (net.Conn, error)
	User string
	Auth []ssh.AuthMethod
	// HostKey is the only host key accepted.
	HostKey ssh.PublicKey
	// FirstContact is asked about the host key if HostKey is nil; usually Identity.PinHost. One of the two must be set.
	FirstContact func(ssh.PublicKey) error
	// Ciphers in order of preference; empty is Ciphers(false).
	Ciphers []string
	// GuestOS is "linux" (also if empty) or "darwin".
	GuestOS string
	// Keepalive is how often the guest is asked for a sign of life; 0 is 10 s, negative never.
	Keepalive time.Duration
	// Bulk is for a connection that carries much and shows nobody a terminal: its packets are large.
	Bulk bool
	// Timeout bounds dialling plus handshake, and the wait for each answer to a request; 0 is 20 s.
	Timeout time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Dial == nil || o.User == "" {
		return o, errors.New("connect to guest: no way to dial it or no user name given")
	}
	if o.HostKey == nil && o.FirstContact == nil {
		return o, errors.New("connect to guest: its host key is not known")
	}
	if len(o.Ciphers) == 0 {
		o.Ciphers = Ciphers(false)
	}
	if o.GuestOS == "" {
		o.GuestOS = "linux"
	}
	if o.Keepalive == 0 {
		o.Keepalive = 10 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	return o, nil
}

// Ciphers is the preferred ciphers: AES-GCM where the processor has instructions for it; ChaCha20, and nothing else,
// where the guest's processor is emulated and AES would be 2 to 8 times slower.
func Ciphers(emulated bool) []string {
	if emulated {
		return []string{"chacha20-poly1305@openssh.com"}
	}
	return []string{"aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"}
}

// Connect dials the guest, checks its host key and authenticates, all within Options.Timeout. A wrong host key is a
// *HostKeyError, a refused key ErrAuth.
func Connect(ctx context.Context, o Options) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return connect(ctx, o, o.Timeout)
}

// connect waits for the server's first byte no longer than banner: a port forwarded into a guest that still boots
// accepts connections and then is silent.
func connect(ctx context.Context, o Options, banner time.Duration) (*Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout,
		fmt.Errorf("guest did not answer within %v: %w", o.Timeout, context.DeadlineExceeded))
	defer cancel()
	dialled, err := o.Dial(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("connect to guest: %w", err)
	}
	terminals := &atomic.Int32{}
	raw := newEar(dialled, terminals)
	// Not every transport has deadlines (a pipe to a helper program), so the clock closes it.
	ended := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn, err := awaitBanner(ctx, raw, banner, o.Bulk, terminals)
	if err != nil {
		ended()
		_ = raw.Close()
		return nil, fmt.Errorf("connect to guest: %w", err)
	}
	var refused error
	whole := newWholePackets(conn)
	sshConn, chans, reqs, err := ssh.NewClientConn(whole, "guest", &ssh.ClientConfig{
		Config: ssh.Config{Ciphers: o.Ciphers},
		User:   o.User,
		Auth:   o.Auth,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			refused = o.checkHostKey(key)
			return refused
		},
		HostKeyAlgorithms: hostKeyAlgorithms(o.HostKey),
	})
	if !ended() && err == nil {
		_ = sshConn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, explainHandshake(ctx, err, refused)
	}
	whole.begin(sshConn)
	return newClient(ssh.NewClient(sshConn, chans, acknowledge(sshConn, reqs)), raw, terminals, o), nil
}

// acknowledge hands on the server's requests, and says something itself when the first that tells its host keys comes, as
// OpenSSH's does when somebody has logged in. What that server says next waits until this is acknowledged (Nagle's
// algorithm, RFC 9293 section 3.7.4: it turns that off only for sessions), and a kernel that has nothing else to send takes
// 40 ms to do so.
func acknowledge(conn ssh.Conn, reqs <-chan *ssh.Request) <-chan *ssh.Request {
	on := make(chan *ssh.Request)
	go func() {
		defer close(on)
		said := false
		for r := range reqs {
			if r.Type == "hostkeys-00@openssh.com" && !said {
				said = true
				_, _, _ = conn.SendRequest("keepalive@openssh.com", false, nil) // a connection that is lost is told elsewhere
			}
			on <- r
		}
	}()
	return on
}

func (o Options) checkHostKey(key ssh.PublicKey) error {
	if o.HostKey == nil {
		return o.FirstContact(key)
	}
	if bytes.Equal(o.HostKey.Marshal(), key.Marshal()) {
		return nil
	}
	return hostKeyMismatch(ssh.FingerprintSHA256(o.HostKey), ssh.FingerprintSHA256(key))
}

// hostKeyAlgorithms are all plain algorithms, the pinned key's first: a guest that has no key of the pinned type then
// presents another one, and is recognised as another machine instead of failing to negotiate.
func hostKeyAlgorithms(pinned ssh.PublicKey) []string {
	all := []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
	if pinned == nil {
		return all
	}
	first := []string{pinned.Type()}
	if pinned.Type() == ssh.KeyAlgoRSA {
		first = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return append(first, slices.DeleteFunc(all, func(a string) bool { return slices.Contains(first, a) })...)
}

func explainHandshake(ctx context.Context, err, refused error) error {
	switch cause := context.Cause(ctx); {
	case refused != nil:
		return fmt.Errorf("connect to guest: %w", refused)
	case cause != nil:
		return fmt.Errorf("connect to guest: %w", cause)
	case strings.Contains(err.Error(), "unable to authenticate"):
		// The library has no type for it.
		return hint.Wrap(fmt.Errorf("connect to guest: %w: %w", ErrAuth, err),
			"The guest no longer holds this workspace's key. Roll the workspace back to a snapshot.")
	}
	return fmt.Errorf("connect to guest: %w", err)
}

// awaitBanner returns conn once its first byte arrived. terminals counts those that are shown over it.
func awaitBanner(
	ctx context.Context, conn net.Conn, limit time.Duration, bulk bool, terminals *atomic.Int32,
) (net.Conn, error) {
	b := &buffered{Conn: conn, r: bufio.NewReaderSize(&gatherer{r: conn, terminals: terminals}, readAhead)}
	if bulk {
		b.r = bufio.NewReaderSize(conn, bulkAhead)
	}
	first := make(chan error, 1)
	go func() {
		_, err := b.r.Peek(1)
		first <- err
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-first:
		if cause := context.Cause(ctx); err != nil && cause != nil {
			return nil, cause
		}
		return b, err
	case <-timer.C:
		return nil, fmt.Errorf("guest's SSH server is silent for %v: %w", limit, context.DeadlineExceeded)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// readAhead is how much is taken from the transport at once, in bytes. x/crypto/ssh reads packets through four kibibytes,
// which costs two or three system calls each; a terminal's output comes in packets of that size.
const readAhead = 256 << 10

// bulkAhead is the same for a connection that carries much: its packets are large, and to copy one once more costs more than a
// second system call for it.
const bulkAhead = 4 << 10

// buffered is a connection that is read ahead.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// NetConn is what it writes to.
func (b *buffered) NetConn() net.Conn {
	if below, ok := b.Conn.(interface{ NetConn() net.Conn }); ok {
		return below.NetConn()
	}
	return b.Conn
}

// refusals is how often in a row a guest may present another key or refuse ours before that is taken as final: while a
// machine boots, another one may answer at its address, and its keys may not be in place.
const refusals = 5

// WaitConnect connects to a guest that may still be booting: it tries again, 50 to 250 ms apart, until ctx ends. A
// wrong host key or a refused key met several times in a row ends it too. report, unless nil, is told each failed
// attempt.
func WaitConnect(ctx context.Context, o Options, report func(attempt int, err error)) (*Client, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	pause, banner, refused := 50*time.Millisecond, min(time.Second, o.Timeout), 0
	for attempt := 1; ; attempt++ {
		client, err := connect(ctx, o, banner)
		if err == nil {
			return client, nil
		}
		if report != nil {
			report(attempt, err)
		}
		if final(err) {
			refused++
		} else {
			refused = 0
		}
		if refused >= refusals {
			return nil, err
		}
		if ctx.Err() != nil || !sleep(ctx, pause) {
			return nil, fmt.Errorf("wait for guest: %w (last attempt: %w)", context.Cause(ctx), err)
		}
		pause = min(pause*3/2, 250*time.Millisecond)
		// A guest that is slow rather than absent is given more and more time.
		banner = min(banner*3/2, o.Timeout)
	}
}

// final tells whether trying again is of little use.
func final(err error) bool {
	var key *HostKeyError
	return errors.As(err, &key) || errors.Is(err, ErrAuth)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// gatherer lets a flood gather: once floodBytes have come within floodTime, each further read comes gatherTime after the one
// before. Packets of a terminal's output are small, and waking two goroutines for each costs more than what is in them; network
// cards moderate their interrupts for the same reason. What comes at a slower rate, such as the echo of a key, never waits; nor
// does what comes in large pieces by itself, such as a file, nor who was busy for as long with what the last read brought.
type gatherer struct {
	r         io.Reader
	terminals *atomic.Int32 // while it is 0, nothing waits: a file, of which 32 KiB come at once, would take half as long again
	since     time.Time     // when the stretch that bytes are of began
	last      time.Time     // when the last read returned
	bytes     int
	large     bool // the last read left something behind, or brought that much without waiting
}

const (
	floodBytes = 128 << 10
	floodTime  = 10 * time.Millisecond
	gatherTime = 4 * time.Millisecond
	// gathered is how much at once needs no gathering: several packets.
	gathered = 64 << 10
)

func (g *gatherer) Read(p []byte) (int, error) {
	waited := g.bytes >= floodBytes && !g.large && g.terminals.Load() > 0
	if waited {
		time.Sleep(gatherTime - time.Since(g.last))
	}
	n, err := g.r.Read(p)
	g.large = n == len(p) || n >= gathered && !waited
	now := time.Now()
	if now.Sub(g.since) > floodTime {
		// What the last stretch brought says whether this is one of a flood.
		g.since, g.bytes = now, min(g.bytes, floodBytes)*int(floodTime)/int(max(now.Sub(g.since), floodTime))
	}
	g.bytes += n
	g.last = now
	return n, err
}
