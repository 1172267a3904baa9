package guest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestEnsureIdentityIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "keys")
	var all [16]*Identity
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = EnsureIdentity(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range all {
		if id == nil || !bytes.Equal(id.AuthorizedKey(), all[0].AuthorizedKey()) ||
			!bytes.Equal(id.HostKeyPEM(), all[0].HostKeyPEM()) {
			t.Fatal("callers at once got different keys")
		}
	}
	id := all[0]
	if bytes.Equal(id.Signer().PublicKey().Marshal(), id.HostPublic().Marshal()) {
		t.Error("client and host key are the same")
	}
	host, err := ssh.ParsePrivateKey(id.HostKeyPEM())
	must(t, err)
	if !bytes.Equal(ssh.MarshalAuthorizedKey(host.PublicKey()), id.HostKeyPub()) {
		t.Error("public and private host key do not belong together")
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v (%v)", info.Mode(), err)
	}
}

func TestEnsureIdentityRefusesDamage(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "garbage": "x", "huge": string(make([]byte, maxKeyFile+1))} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, clientKeyFile), []byte(content), 0o600))
			if _, err := EnsureIdentity(dir); err == nil {
				t.Error("a damaged key was taken or replaced")
			}
		})
	}
}

func TestPinHost(t *testing.T) {
	id, err := EnsureIdentity(t.TempDir())
	must(t, err)
	other, err := EnsureIdentity(t.TempDir())
	must(t, err)
	if _, err := id.Pinned(); !errors.Is(err, ErrNotPinned) {
		t.Errorf("before: %v", err)
	}
	must(t, id.PinHost(other.HostPublic()))
	must(t, id.PinHost(other.HostPublic()))
	var mismatch *HostKeyError
	if err := id.PinHost(id.HostPublic()); !errors.As(err, &mismatch) {
		t.Errorf("another key: %v", err)
	}
	pinned, err := id.Pinned()
	must(t, err)
	if !bytes.Equal(pinned.Marshal(), other.HostPublic().Marshal()) {
		t.Error("another key was recorded")
	}
}
