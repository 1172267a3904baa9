package isolation

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
)

// canary is a small web server on the host's loopback and addresses, there for the moment of one check. Whatever reaches
// it with the check's secret has got out of the guest.
type canary struct {
	secret string
	addrs  []string
	srv    *http.Server

	mu   sync.Mutex
	hits []string // guarded by mu: how each request with the secret came in
}

func startCanary() (*canary, error) {
	var b [16]byte
	_, _ = rand.Read(b[:])
	c := &canary{secret: hex.EncodeToString(b[:])}
	c.srv = &http.Server{Handler: c, ReadHeaderTimeout: 5 * time.Second}
	ips := []net.IP{net.IPv4(127, 0, 0, 1)}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("listing the host's addresses: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			ips = append(ips, n.IP)
		}
	}
	port := 0
	for _, ip := range ips {
		// One port for all addresses: the guest's gateway stands for the host's loopback, whatever its address.
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip, Port: port})
		if err != nil {
			_ = c.srv.Close()
			return nil, fmt.Errorf("putting up a canary on %s: %w", ip, err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		c.addrs = append(c.addrs, l.Addr().String())
		go func() { _ = c.srv.Serve(l) }()
	}
	return c, nil
}

func (c *canary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, ok := strings.CutPrefix(r.URL.Path, "/"+c.secret+"/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	c.mu.Lock()
	c.hits = append(c.hits, who)
	c.mu.Unlock()
	_, _ = io.WriteString(w, c.secret)
}

func (c *canary) heard(who string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.hits, who)
}

// proveAlive asks every canary from the host itself: one that is not there proves nothing by not being reached.
func (c *canary) proveAlive(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for _, a := range c.addrs {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a+"/"+c.secret+"/self-"+a, nil)
		if err != nil {
			return fmt.Errorf("asking the canary on %s: %w", a, err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("asking the canary on %s: %w", a, err)
		}
		_ = resp.Body.Close()
		if !c.heard("self-" + a) {
			return fmt.Errorf("the canary on %s did not hear the host itself", a)
		}
	}
	return nil
}

// gatewayScript prints the guest's default gateway: Linux has ip(8), macOS route(8).
const gatewayScript = `if command -v ip >/dev/null 2>&1; then ip -4 route show default | awk '{print $3; exit}'; ` +
	`else route -n get default | awk '/gateway:/{print $2; exit}'; fi`

func checkCanary(ctx context.Context, s *Subject) (Outcome, string, string) {
	if s.Guest == nil {
		return NoProof, "there is no connection into the guest to try it from", ""
	}
	c, err := startCanary()
	if err != nil {
		return NoProof, err.Error(), ""
	}
	defer func() { _ = c.srv.Close() }()
	if err := c.proveAlive(ctx); err != nil {
		return NoProof, err.Error(), ""
	}
	targets := slices.Clone(c.addrs)
	gw, err := s.Guest.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", gatewayScript}, Limit: 256})
	if err != nil {
		return NoProof, fmt.Sprintf("the guest's gateway could not be asked for: %v", err), ""
	}
	if ip := net.ParseIP(strings.TrimSpace(string(gw.Stdout))); ip != nil {
		_, port, _ := net.SplitHostPort(c.addrs[0])
		targets = append(targets, net.JoinHostPort(ip.String(), port))
	}
	direct, err := c.attempt(ctx, s.Guest, targets, "", "direct")
	if err != nil {
		return NoProof, err.Error(), ""
	}
	evidence := direct
	if s.Proxy != "" {
		proxied, err := c.attempt(ctx, s.Guest, c.addrs, "http://"+s.Proxy, "proxy")
		if err != nil {
			return NoProof, err.Error(), strings.Join(evidence, "\n")
		}
		evidence = append(evidence, proxied...)
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hits {
		if !strings.HasPrefix(h, "self-") {
			return Fail, fmt.Sprintf("the guest reached a service on the host (%s)", h), strings.Join(evidence, "\n")
		}
	}
	return Pass, "", strings.Join(evidence, "\n")
}

// attempt has the guest try every target at once, and returns a line of evidence for each. It is an error if the guest
// did not account for all of them: then nothing was proven.
func (c *canary) attempt(ctx context.Context, g Runner, targets []string, proxy, how string) ([]string, error) {
	argv := []string{
		"curl", "--silent", "--parallel", "--parallel-immediate", "--connect-timeout", "3", "--max-time", "6",
		"--globoff", "--write-out", "%{exitcode} %{http_code} %{url}\n",
	}
	if proxy == "" {
		argv = append(argv, "--noproxy", "*")
	} else {
		argv = append(argv, "--noproxy", "", "--proxy", proxy)
	}
	urls := make([]string, len(targets))
	for i, t := range targets {
		urls[i] = fmt.Sprintf("http://%s/%s/%s-%s", t, c.secret, how, t)
		argv = append(argv, "--output", "/dev/null", urls[i])
	}
	res, err := g.Output(ctx, guest.Cmd{Argv: argv, Limit: 64 << 10})
	if err != nil {
		return nil, fmt.Errorf("trying to reach the host from inside: %w", err)
	}
	var lines []string
	for i, u := range urls {
		line, ok := reportLine(string(res.Stdout), u)
		if !ok {
			return nil, errors.New("the guest could not try to reach the host: " + firstLine(res))
		}
		lines = append(lines, fmt.Sprintf("%s %s: curl exit %s", how, targets[i], line))
	}
	return lines, nil
}

func reportLine(out, url string) (string, bool) {
	for line := range strings.Lines(out) {
		if head, ok := strings.CutSuffix(strings.TrimSpace(line), " "+url); ok {
			return strings.Replace(head, " ", ", HTTP status ", 1), true
		}
	}
	return "", false
}

func firstLine(r guest.Result) string {
	s := strings.TrimSpace(string(r.Stderr))
	if s == "" {
		s = fmt.Sprintf("curl exited %d without accounting for its attempts", r.Exit)
	}
	line, _, _ := strings.Cut(s, "\n")
	return line
}
