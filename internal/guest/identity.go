package guest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

const (
	clientKeyFile = "id_ed25519"
	hostKeyFile   = "ssh_host_ed25519_key"
	pinFile       = "pinned_host_key.pub"
	maxKeyFile    = 16 << 10
)

// Identity is the key pairs of one workspace: the client key that opens the guest, and the host key the guest is seeded
// with where the driver can. Neither is used for anything else, and the client key opens nothing on the host.
type Identity struct {
	dir     string
	client  ssh.Signer
	host    ssh.Signer
	hostPEM []byte
}

// EnsureIdentity loads the identity in dir, making the directory (0700) and the key pairs (0600) if they are not there.
// Two processes that call it at once get the same keys.
func EnsureIdentity(dir string) (*Identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making key directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory needs its x bit
		return nil, fmt.Errorf("closing key directory: %w", err)
	}
	id := &Identity{dir: dir}
	var err error
	if id.client, _, err = ensureKey(filepath.Join(dir, clientKeyFile), "calmenu"); err != nil {
		return nil, err
	}
	if id.host, id.hostPEM, err = ensureKey(filepath.Join(dir, hostKeyFile), "calmenu-guest"); err != nil {
		return nil, err
	}
	return id, nil
}

func ensureKey(name, comment string) (ssh.Signer, []byte, error) {
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, fmt.Errorf("making key: %w", err)
		}
		block, err := ssh.MarshalPrivateKey(key, comment)
		if err != nil {
			return nil, nil, fmt.Errorf("encoding key: %w", err)
		}
		if err := createOnce(name, pem.EncodeToMemory(block)); err != nil {
			return nil, nil, err
		}
	}
	data, err := readSmall(name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, nil, fmt.Errorf("reading key %s: %w", name, err)
	}
	return signer, data, nil
}

// createOnce writes a file whole under its final name unless there is one: whoever links first wins, and a reader never
// sees half a file. The file's mode is 0600.
func createOnce(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		if err = os.Link(f.Name(), name); errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s is not a key file", name)
	}
	return os.ReadFile(name) //nolint:gosec // the caller's own directory
}

// Signer signs with the client key.
func (id *Identity) Signer() ssh.Signer { return id.client }

// AuthorizedKey is the client key's line for the guest's authorized_keys, with its newline.
func (id *Identity) AuthorizedKey() []byte { return ssh.MarshalAuthorizedKey(id.client.PublicKey()) }

// HostKeyPEM is the guest's private host key as its sshd reads it (OpenSSH format).
func (id *Identity) HostKeyPEM() []byte { return bytes.Clone(id.hostPEM) }

// HostKeyPub is the guest's public host key as a line, with its newline.
func (id *Identity) HostKeyPub() []byte { return ssh.MarshalAuthorizedKey(id.host.PublicKey()) }

// HostPublic is the host key a seeded guest must present.
func (id *Identity) HostPublic() ssh.PublicKey { return id.host.PublicKey() }

// PinHost records the host key met at first contact, for drivers that cannot seed one. Once a key is recorded, any
// other is a *HostKeyError. Of several processes that pin at once, the first one's key stands.
func (id *Identity) PinHost(key ssh.PublicKey) error {
	if _, err := id.Pinned(); errors.Is(err, ErrNotPinned) {
		if err := createOnce(filepath.Join(id.dir, pinFile), ssh.MarshalAuthorizedKey(key)); err != nil {
			return err
		}
	}
	pinned, err := id.Pinned()
	if err != nil {
		return err
	}
	if !bytes.Equal(pinned.Marshal(), key.Marshal()) {
		return hostKeyMismatch(ssh.FingerprintSHA256(pinned), ssh.FingerprintSHA256(key))
	}
	return nil
}

// Pinned is the host key recorded by PinHost, or ErrNotPinned.
func (id *Identity) Pinned() (ssh.PublicKey, error) {
	name := filepath.Join(id.dir, pinFile)
	data, err := readSmall(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotPinned
	}
	if err != nil {
		return nil, fmt.Errorf("reading pinned host key: %w", err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, fmt.Errorf("reading pinned host key %s: %w", name, err)
	}
	return key, nil
}
