package guest

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
)

// Manners is what a guest's SSH server shows to somebody without a key.
type Manners struct {
	HostKey ssh.PublicKey
	// Offered are the ways to log in without a key that it offers: "password", "keyboard-interactive", or "none".
	Offered []string
}

// Probe knocks at a guest's SSH server without a key: it learns the host key and which other ways to log in there are,
// and uses none of them.
func Probe(
	ctx context.Context, dial func(context.Context) (net.Conn, error), user string, ciphers []string,
) (Manners, error) {
	conn, err := dial(ctx)
	if err != nil {
		return Manners{}, fmt.Errorf("reaching the guest: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	var m Manners
	onlyAsking := errors.New("only asking")
	c, _, _, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		Config: ssh.Config{Ciphers: ciphers},
		User:   user,
		Auth: []ssh.AuthMethod{
			ssh.PasswordCallback(func() (string, error) {
				m.Offered = append(m.Offered, "password")
				return "", onlyAsking
			}),
			ssh.KeyboardInteractive(func(string, string, []string, []bool) ([]string, error) {
				m.Offered = append(m.Offered, "keyboard-interactive")
				return nil, onlyAsking
			}),
		},
		HostKeyCallback:   func(_ string, _ net.Addr, k ssh.PublicKey) error { m.HostKey = k; return nil },
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err == nil {
		_ = c.Close()
		m.Offered = append(m.Offered, "none")
		return m, nil
	}
	if m.HostKey == nil {
		return Manners{}, fmt.Errorf("speaking SSH with the guest: %w", err)
	}
	return m, nil
}
