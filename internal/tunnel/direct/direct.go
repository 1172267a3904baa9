// Package direct is a connection of their own between the host and CALMenu's program in the guest, for bytes that would
// otherwise pass the guest's SSH server: TLS 1.3, of which each end knows the other by its certificate alone. The
// certificates are made for one connection, and their hashes are told over SSH, which knows whom it talks to.
//
// What must hold: who else reaches the guest's port, or stands between, gets nothing and passes for nobody. CALMenu's
// program in the guest is built from it, so it stands on the standard library alone.
package direct

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// Pin is the hash of a certificate: SHA-256 of its DER.
type Pin [sha256.Size]byte

// Identity is what one end shows the other, for one connection.
type Identity struct {
	cert tls.Certificate
}

// NewIdentity makes a key and a certificate for it.
func NewIdentity() (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return &Identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}

// Pin is what the other end has to know of this one.
func (i *Identity) Pin() Pin { return sha256.Sum256(i.cert.Certificate[0]) }

// ErrPeer is returned for an end that is not the expected one.
var ErrPeer = errors.New("is not the one that was expected")

// config accepts one certificate, whatever it says of itself: nothing but its hash was agreed on.
func (i *Identity) config(peer Pin) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{i.cert},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, //nolint:gosec // VerifyConnection is stricter than a chain.
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) != 1 {
				return ErrPeer
			}
			if pin := sha256.Sum256(s.PeerCertificates[0].Raw); subtle.ConstantTimeCompare(pin[:], peer[:]) != 1 {
				return ErrPeer
			}
			return nil
		},
		// Small records first are for browsers that show what has come so far.
		DynamicRecordSizingDisabled: true,
	}
}

// greeting is what the guest's end says unasked, before TLS: some ways to a guest count as open once its end has spoken.
const greeting = 'c'

// Dial makes the host's end of a connection to the guest's port. It closes raw if it fails.
func (i *Identity) Dial(ctx context.Context, raw net.Conn, peer Pin) (*Conn, error) {
	return meet(ctx, raw, func(g *gathered) (*tls.Conn, error) {
		var first [1]byte
		_, err := io.ReadFull(g.Conn, first[:])
		if err == nil && first[0] != greeting {
			err = ErrPeer
		}
		return tls.Client(g, i.config(peer)), err
	})
}

// Accept makes the guest's. It closes raw if it fails.
func (i *Identity) Accept(ctx context.Context, raw net.Conn, peer Pin) (*Conn, error) {
	return meet(ctx, raw, func(g *gathered) (*tls.Conn, error) {
		_, err := g.Conn.Write([]byte{greeting})
		return tls.Server(g, i.config(peer)), err
	})
}

func meet(ctx context.Context, raw net.Conn, begin func(*gathered) (*tls.Conn, error)) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	if b, ok := raw.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = b.SetWriteBuffer(sendBuffer)
	}
	g := &gathered{Conn: raw}
	c, err := begin(g)
	if err == nil {
		err = c.HandshakeContext(ctx)
	}
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("the other end of the direct connection: %w", err)
	}
	// A dead network is found out by SSH first. This is for who keeps SSH's packets and loses ours.
	if k, ok := raw.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = k.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3})
	}
	return &Conn{c, g}, nil
}

// Conn is a byte stream. Its methods may be called from several goroutines, but Read from one.
type Conn struct {
	tls  *tls.Conn
	link *gathered
}

// Read implements io.Reader.
func (c *Conn) Read(b []byte) (int, error) { return c.tls.Read(b) }

// Write implements io.Writer.
func (c *Conn) Write(b []byte) (int, error) {
	if err := c.WriteParts(b, nil); err != nil {
		return 0, err
	}
	return len(b), nil
}

// WriteParts writes two parts, one after the other, as a whole. After an error the connection is of no use.
func (c *Conn) WriteParts(first, second []byte) error {
	c.link.writing.Lock()
	defer c.link.writing.Unlock()
	_ = c.link.gather(true)
	for _, part := range [][]byte{first, second} {
		if len(part) == 0 {
			continue
		}
		if _, err := c.tls.Write(part); err != nil {
			return err
		}
	}
	return c.link.gather(false)
}

// Close ends the connection at once: TLS' own goodbye might wait for who does not read.
func (c *Conn) Close() error { return c.link.Close() }

// sendBuffer is how much is written at once, in bytes, and how much the kernel keeps of what is on its way. The other end is
// on the same computer: the 4 MiB that Linux lets gather by itself bring nothing, and have left the processor's cache when
// they are read.
const sendBuffer = 256 << 10

// gathered has what is written at once be more than a record of TLS: each costs a system call otherwise. What is read needs
// no such thing, TLS asks for several records at once by itself.
type gathered struct {
	net.Conn
	writing sync.Mutex // held from the first record to the last of what is written as a whole

	mu        sync.Mutex // guards what follows; held while writing
	gathering bool
	out       []byte
}

// Write implements net.Conn. TLS has one record written at a time.
func (g *gathered) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gathering {
		return g.Conn.Write(b)
	}
	if g.out = append(g.out, b...); len(g.out) < sendBuffer {
		return len(b), nil
	}
	return len(b), g.flush()
}

// flush writes what was gathered. Its caller holds mu.
func (g *gathered) flush() error {
	if len(g.out) == 0 {
		return nil
	}
	_, err := g.Conn.Write(g.out)
	g.out = g.out[:0]
	return err
}

// gather begins to keep what is written, or writes it.
func (g *gathered) gather(yes bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gathering = yes; yes {
		return nil
	}
	return g.flush()
}
