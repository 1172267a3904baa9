// Package hostproxy finds out how this host itself gets out: by the proxy its environment, its system settings or its
// proxy auto-configuration name, with the login its person has put into the keychain.
//
// What must hold: a password is nowhere but in the keychain and in what is sent to the proxy; what cannot be found out is
// told, and is never a connection past a proxy somebody has set.
package hostproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/calmenu/calmenu/internal/hostproxy/pac"
)

// Options say where to look.
type Options struct {
	// Setting is "auto", "off", or the URL of a proxy.
	Setting string
	// PAC is the URL or path of a PAC script; empty: what the system names.
	PAC string
	// Warn is told of what could not be found out but does not stop a connection.
	Warn func(error)

	environ func() *httpproxy.Config               // for tests; nil is the process's
	system  func(context.Context) (*System, error) // for tests; nil is the system's
	client  *http.Client                           // fetches scripts; nil goes past every proxy
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Source tells which proxy is used for what. Its methods may be called from several goroutines.
type Source struct {
	o      Options
	logins logins

	mu       sync.Mutex // guards what follows
	system   *System
	systemAt time.Time
	script   *pac.Script
	scriptOf string
	scriptAt time.Time
	dead     map[string]time.Time // proxies of a list that did not answer, and when
	alive    map[string]time.Time
}

// How long what was found out holds.
const (
	systemFresh = 30 * time.Second
	scriptFresh = 10 * time.Minute
	aliveFresh  = time.Minute
	fetchTime   = 10 * time.Second
	tryTime     = 3 * time.Second // for a proxy of a list to answer
)

// New returns the source the options describe.
func New(o Options) *Source {
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	if o.environ == nil {
		o.environ = httpproxy.FromEnvironment
	}
	if o.system == nil {
		o.system = systemSettings
	}
	if o.client == nil {
		o.client = &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: fetchTime}
	}
	if o.dial == nil {
		o.dial = (&net.Dialer{}).DialContext
	}
	return &Source{o: o, dead: map[string]time.Time{}, alive: map[string]time.Time{}}
}

// For returns the proxy for a URL, of which scheme and host count, or nil where there is none.
func (s *Source) For(u *url.URL) (*url.URL, error) {
	proxy, err := s.find(u)
	if err != nil || proxy == nil || proxy.User != nil && hasPassword(proxy) {
		return proxy, err
	}
	login, err := s.logins.of(proxy)
	if err != nil {
		s.o.Warn(err)
	}
	if login == nil {
		return proxy, nil
	}
	with := *proxy
	with.User = login
	return &with, nil
}

func hasPassword(u *url.URL) bool { _, ok := u.User.Password(); return ok }

// Describe says in a few words, without a login, what is in force for ordinary connections.
func (s *Source) Describe() string {
	proxy, err := s.find(&url.URL{Scheme: "https", Host: "example.org:443"})
	switch {
	case err != nil:
		return err.Error()
	case proxy == nil:
		return "none"
	}
	return proxy.Redacted()
}

func (s *Source) find(u *url.URL) (*url.URL, error) {
	switch s.o.Setting {
	case "off":
		return nil, nil
	case "", "auto":
	default:
		fixed, err := url.Parse(s.o.Setting)
		if err != nil {
			return nil, fmt.Errorf("reading network.host_proxy: %w", err)
		}
		return fixed, nil
	}
	if s.o.PAC != "" {
		return s.byScript(u, s.o.PAC)
	}
	if env := s.o.environ(); env.HTTPProxy != "" || env.HTTPSProxy != "" {
		return env.ProxyFunc()(u)
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	system, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case system == nil || system.excepts(u.Hostname()):
		return nil, nil
	case system.PAC != "":
		return s.byScript(u, system.PAC)
	}
	return system.proxyFor(u.Scheme), nil
}

// settings are the system's, fresh enough.
func (s *Source) settings(ctx context.Context) (*System, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.systemAt.IsZero() && time.Since(s.systemAt) < systemFresh {
		return s.system, nil
	}
	system, err := s.o.system(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the system's proxy settings: %w", err)
	}
	if system != nil && system.AutoDiscovery && system.PAC == "" {
		s.o.Warn(errors.New("the system looks for its proxy by auto-discovery (WPAD), which CALMenu does not: " +
			"set network.host_proxy_pac"))
	}
	s.system, s.systemAt = system, time.Now()
	return system, nil
}

func (s *Source) byScript(u *url.URL, where string) (*url.URL, error) {
	script, err := s.scriptAtURL(where)
	if err != nil {
		return nil, err
	}
	list, err := script.Find(u)
	if err != nil {
		return nil, err
	}
	return s.firstAlive(list), nil
}

// scriptAtURL is the script of a URL or path, fresh enough. One that was there is used as long as it cannot be fetched anew.
func (s *Source) scriptAtURL(where string) (*pac.Script, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.script != nil && s.scriptOf == where && time.Since(s.scriptAt) < scriptFresh {
		return s.script, nil
	}
	text, err := s.fetch(where)
	var script *pac.Script
	if err == nil {
		script, err = pac.Parse(text)
	}
	if err != nil {
		if s.script != nil && s.scriptOf == where {
			s.o.Warn(err)
			s.scriptAt = time.Now()
			return s.script, nil
		}
		return nil, err
	}
	s.script, s.scriptOf, s.scriptAt = script, where, time.Now()
	return script, nil
}

func (s *Source) fetch(where string) (string, error) {
	var body io.ReadCloser
	if path := strings.TrimPrefix(where, "file://"); filepath.IsAbs(path) {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("reading the PAC script: %w", err)
		}
		body = f
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
		if err != nil {
			return "", fmt.Errorf("fetching the PAC script: %w", err)
		}
		res, err := s.o.client.Do(req)
		if err != nil {
			return "", fmt.Errorf("fetching the PAC script: %w", err)
		}
		body = res.Body
		if res.StatusCode != http.StatusOK {
			_ = body.Close()
			return "", fmt.Errorf("fetching the PAC script: %s answered %s", where, res.Status)
		}
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, pac.MaxScript+1))
	if err != nil {
		return "", fmt.Errorf("reading the PAC script: %w", err)
	}
	return string(text), nil
}

// firstAlive returns the first proxy of a list that answers; of one that does not answer at all, the first.
func (s *Source) firstAlive(list []*url.URL) *url.URL {
	if len(list) == 1 {
		return list[0]
	}
	for _, p := range list {
		if p == nil || s.answers(p) {
			return p
		}
	}
	return list[0]
}

func (s *Source) answers(p *url.URL) bool {
	address := Address(p)
	s.mu.Lock()
	live, dead := time.Since(s.alive[address]) < aliveFresh, time.Since(s.dead[address]) < aliveFresh
	s.mu.Unlock()
	if live || dead {
		return live
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryTime)
	defer cancel()
	conn, err := s.o.dial(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.dead[address] = time.Now()
	} else {
		s.alive[address] = time.Now()
	}
	return err == nil
}

// Address is the host and port of a proxy.
func Address(p *url.URL) string {
	port := p.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[p.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(p.Hostname(), port)
}

// System are the proxy settings of an operating system.
type System struct {
	HTTP, HTTPS, SOCKS string // host:port; empty: none
	PAC                string // URL of a script
	AutoDiscovery      bool
	Exceptions         []string // patterns of hosts and networks that are reached directly
	ExceptSimple       bool     // names without a dot are, too
}

func (y *System) proxyFor(scheme string) *url.URL {
	for _, c := range []struct {
		host, kind string
		fits       bool
	}{{y.HTTPS, "http", scheme == "https"}, {y.HTTP, "http", scheme == "http"}, {y.SOCKS, "socks5", true}} {
		if c.fits && c.host != "" {
			return &url.URL{Scheme: c.kind, Host: c.host}
		}
	}
	return nil
}

// excepts tells whether a host is reached directly.
func (y *System) excepts(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && addr.IsLoopback() || y.ExceptSimple && !strings.ContainsAny(host, ".:") {
		return true
	}
	for _, e := range y.Exceptions {
		e = strings.ToLower(e)
		if prefix, ok := shortPrefix(e); ok {
			if err == nil && prefix.Contains(addr) {
				return true
			}
			continue
		}
		if matchHost(e, host) {
			return true
		}
	}
	return false
}

// matchHost matches "*.local", "example.org" and "*corp*".
func matchHost(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "."); ok {
		return strings.HasSuffix(host, "."+suffix)
	}
	ok, err := filepath.Match(strings.NewReplacer("[", `\[`, "]", `\]`).Replace(pattern), host)
	return err == nil && ok
}

// shortPrefix reads a network whose trailing zeros may be left out, "169.254/16".
func shortPrefix(s string) (netip.Prefix, bool) {
	addr, bits, ok := strings.Cut(s, "/")
	if !ok {
		return netip.Prefix{}, false
	}
	for !strings.Contains(addr, ":") && strings.Count(addr, ".") < 3 {
		addr += ".0"
	}
	p, err := netip.ParsePrefix(addr + "/" + bits)
	return p.Masked(), err == nil
}
