package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/zalando/go-keyring"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/guest/provision"
	"github.com/calmenu/calmenu/internal/hint"
)

// secretStore keeps one secret for each workspace. A secret that is not there is fs.ErrNotExist.
type secretStore interface {
	get(workspace string) (string, error)
	set(workspace, secret string) error
	remove(workspace string) error
}

// secrets is where guests' passwords are kept: in the keychain on a Mac. Elsewhere no guest has a password but that of
// a Mac that is played, and not every session has a keychain that answers: it lies beside the key that opens the same
// guest.
func (a *App) secrets() secretStore {
	if runtime.GOOS == "darwin" {
		return keychain{}
	}
	return secretFiles{a.identityDir}
}

// guestPassword is the password of a workspace's guest, made the first time it is asked for. It is kept before it is
// used: a guest whose password nobody knows cannot be logged in to at its screen.
func (a *App) guestPassword(ctx context.Context, name string) (string, error) {
	type answer struct {
		password string
		err      error
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("waiting for the keychain: %w", err)
	}
	got := make(chan answer, 1)
	go func() { // a keychain may ask the person, who may be away
		password, err := keepPassword(a.secrets(), name)
		got <- answer{password, err}
	}()
	select {
	case r := <-got:
		return r.password, r.err
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for the keychain: %w", ctx.Err())
	}
}

func keepPassword(store secretStore, name string) (string, error) {
	password, err := store.get(name)
	if errors.Is(err, fs.ErrNotExist) {
		password = provision.NewPassword()
		err = store.set(name, password)
	}
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("keeping the guest's password: %w", err),
			"Log in to this Mac's screen once, or run `security unlock-keychain`, and try again.")
	}
	return password, nil
}

// forgetPassword removes the password of a workspace that is gone.
func (a *App) forgetPassword(name string) error {
	if err := a.secrets().remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the guest's password: %w", err)
	}
	return nil
}

// keychain is the login keychain of this Mac.
type keychain struct{}

const keychainService = "CALMenu"

func (keychain) get(workspace string) (string, error) {
	secret, err := keyring.Get(keychainService, workspace)
	return secret, notExist(err)
}

func (keychain) set(workspace, secret string) error {
	return keyring.Set(keychainService, workspace, secret)
}

func (keychain) remove(workspace string) error {
	return notExist(keyring.Delete(keychainService, workspace))
}

func notExist(err error) error {
	if errors.Is(err, keyring.ErrNotFound) {
		return fs.ErrNotExist
	}
	return err
}

// secretFiles keeps secrets in files that only the user can read, in the directory of a workspace's keys.
type secretFiles struct{ dir func(workspace string) string }

func (s secretFiles) file(workspace string) string {
	return filepath.Join(s.dir(workspace), "password")
}

func (s secretFiles) get(workspace string) (string, error) {
	b, err := os.ReadFile(s.file(workspace))
	return strings.TrimSpace(string(b)), err
}

func (s secretFiles) set(workspace, secret string) error {
	return atomicfile.Write(s.file(workspace), []byte(secret+"\n"), 0o600)
}

func (s secretFiles) remove(workspace string) error { return os.Remove(s.file(workspace)) }
