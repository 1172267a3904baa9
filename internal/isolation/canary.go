package isolation

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
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
	evidence, err := c.attempt(ctx, s)
	if err != nil {
		return NoProof, err.Error(), ""
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

func (c *canary) url(how, target string) string {
	return fmt.Sprintf("http://%s/%s/%s-%s", target, c.secret, how, target)
}
