package hostproxy

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/calmenu/calmenu/internal/hint"
)

// service is what logins for proxies are kept under in the keychain; the account is the proxy's host and port.
const service = "CALMenu proxy"

const keychainTime = 10 * time.Second // the keychain may ask the person, who may be away

const keychainHint = "It takes an unlocked keychain: on Linux, a secret service such as gnome-keyring in a desktop session."

// Login puts the login for a proxy into the keychain. The text is "user:password".
func Login(proxy *url.URL, login string) error {
	if user, _, ok := strings.Cut(login, ":"); !ok || user == "" {
		return hint.Errorf(`Give them as "user:password" on standard input.`, "no user and password given")
	}
	err := inTime(func() error { return keyring.Set(service, Address(proxy), login) })
	if err != nil {
		return hint.Wrap(fmt.Errorf("keeping the login for %s in the keychain: %w", Address(proxy), err), keychainHint)
	}
	return nil
}

// ErrNoLogin is returned by Logout if there is none.
var ErrNoLogin = errors.New("the keychain holds no login for it")

// Logout removes the login for a proxy from the keychain.
func Logout(proxy *url.URL) error {
	err := inTime(func() error { return keyring.Delete(service, Address(proxy)) })
	if errors.Is(err, keyring.ErrNotFound) {
		err = ErrNoLogin
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("removing the login for %s: %w", Address(proxy), err), keychainHint)
	}
	return nil
}

func inTime(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(keychainTime):
		return errors.New("the keychain does not answer")
	}
}

// loginFresh is how long the keychain is not asked again.
const loginFresh = 5 * time.Minute

// logins remembers what the keychain said.
type logins struct {
	mu    sync.Mutex // guards known
	known map[string]known
}

type known struct {
	login *url.Userinfo // nil: there is none
	at    time.Time
}

// of returns the login for a proxy, if there is one.
func (l *logins) of(proxy *url.URL) (*url.Userinfo, error) {
	address := Address(proxy)
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.known[address]; ok && time.Since(k.at) < loginFresh {
		return k.login, nil
	}
	var text string
	err := inTime(func() (err error) {
		text, err = keyring.Get(service, address)
		return err
	})
	k := known{at: time.Now()}
	if user, password, ok := strings.Cut(text, ":"); err == nil && ok {
		k.login = url.UserPassword(user, password)
	}
	if l.known == nil {
		l.known = map[string]known{}
	}
	l.known[address] = k
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return nil, hint.Wrap(fmt.Errorf("asking the keychain for a login for %s: %w", address, err), keychainHint)
	}
	return k.login, nil
}
