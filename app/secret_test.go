package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"github.com/calmenu/calmenu/internal/hint"
)

// Both places a password can be kept do the same: make one once, give it back, forget it.
func TestAPasswordIsMadeOnceAndForgotten(t *testing.T) {
	keyring.MockInit()
	dir := t.TempDir()
	for name, store := range map[string]secretStore{
		"keychain": keychain{}, "files": secretFiles{func(ws string) string { return filepath.Join(dir, ws) }},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(filepath.Join(dir, "demo"), 0o700); err != nil {
				t.Fatal(err)
			}
			first, err := keepPassword(store, "demo")
			if err != nil || len(first) < 20 {
				t.Fatalf("password %q, %v", first, err)
			}
			if again, err := keepPassword(store, "demo"); err != nil || again != first {
				t.Errorf("the second time %q, %v, want %q", again, err, first)
			}
			if err := store.remove("demo"); err != nil {
				t.Error(err)
			}
			if _, err := store.get("demo"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after it was forgotten: %v", err)
			}
			if err := store.remove("demo"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("forgotten twice: %v", err)
			}
			if other, err := keepPassword(store, "demo"); err != nil || other == first {
				t.Errorf("a new one is %q, %v", other, err)
			}
		})
	}
	if fi, err := os.Stat(filepath.Join(dir, "demo", "password")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", fi, err)
	}
}

func TestALockedKeychainIsAnErrorThatSaysWhatToDo(t *testing.T) {
	keyring.MockInitWithError(errors.New("User interaction is not allowed."))
	_, err := keepPassword(keychain{}, "demo")
	if err == nil || !strings.Contains(err.Error(), "keeping the guest's password") ||
		!strings.Contains(hint.Of(err), "security unlock-keychain") {
		t.Errorf("error %v, hint %q", err, hint.Of(err))
	}
}

func TestWaitingForTheKeychainEndsWithItsContext(t *testing.T) {
	a, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.guestPassword(ctx, "demo"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
