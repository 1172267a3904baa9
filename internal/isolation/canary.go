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

// attemptOptions are curl's for every attempt; its report of one is a line: exit code, HTTP status, URL.
var attemptOptions = []string{
	"--silent", "--connect-timeout", "3", "--max-time", "6", "--globoff",
	"--write-out", "%{exitcode} %{http_code} %{url}\n",
}

// attemptScript asks for the guest's default gateway (Linux has ip(8), macOS route(8)) and prints it. Then it runs curl
// with the arguments behind $1, and with one attempt more, at $1, in which GATEWAY stands for that address; all of them at
// once. It is one command, because a guest that is emulated or busy takes long to start each.
var attemptScript = `url=$1
shift
if command -v ip >/dev/null 2>&1; then gateway=$(ip -4 route show default | { read -r _ _ via _; echo "$via"; })
else gateway=$(route -n get default | awk '/gateway:/{print $2; exit}'); fi
printf 'gateway %s\n' "$gateway"
case $gateway in
*[!0-9.]*|'') ;;
*)
  head=${url%%GATEWAY*} tail=${url##*GATEWAY} middle=${url#*GATEWAY}
  set -- "$@" --next ` + guest.Quote(attemptOptions) + ` --noproxy '*' --output /dev/null \
    "$head$gateway${middle%GATEWAY*}$gateway$tail" ;;
esac
exec curl --parallel --parallel-immediate "$@"`

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
	evidence, err := c.attempt(ctx, s.Guest, s.Proxy)
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

// attempt has the guest try every address at once, its gateway as well, and through the proxy if there is one. It returns
// a line of evidence for each. It is an error if the guest did not account for all of them: then nothing was proven.
func (c *canary) attempt(ctx context.Context, g Runner, proxy string) ([]string, error) {
	type attempt struct{ how, target, url string }
	var all []attempt
	argv := []string{}
	add := func(how, target string) {
		a := attempt{how, target, c.url(how, target)}
		all, argv = append(all, a), append(argv, "--output", "/dev/null", a.url)
	}
	group := func(how string, options ...string) {
		argv = append(append(argv, attemptOptions...), options...)
		for _, target := range c.addrs {
			add(how, target)
		}
	}
	group("direct", "--noproxy", "*")
	if proxy != "" {
		argv = append(argv, "--next")
		group("proxy", "--noproxy", "", "--proxy", "http://"+proxy)
	}
	_, port, _ := net.SplitHostPort(c.addrs[0])
	argv = append([]string{"sh", "-c", attemptScript, "sh", c.url("direct", "GATEWAY:"+port)}, argv...)
	res, err := g.Output(ctx, guest.Cmd{Argv: argv, Limit: 64 << 10})
	if err != nil {
		return nil, fmt.Errorf("trying to reach the host from inside: %w", err)
	}
	said := string(res.Stdout)
	first, _, _ := strings.Cut(said, "\n")
	gateway, ok := strings.CutPrefix(first, "gateway ")
	if !ok {
		return nil, errors.New("the guest could not try to reach the host: " + firstLine(res))
	}
	if ip := net.ParseIP(strings.TrimSpace(gateway)); ip != nil {
		add("direct", net.JoinHostPort(ip.String(), port))
	}
	var lines []string
	for _, a := range all {
		line, ok := reportLine(said, a.url)
		if !ok {
			return nil, errors.New("the guest could not try to reach the host: " + firstLine(res))
		}
		lines = append(lines, fmt.Sprintf("%s %s: curl exit %s", a.how, a.target, line))
	}
	return lines, nil
}

func (c *canary) url(how, target string) string {
	return fmt.Sprintf("http://%s/%s/%s-%s", target, c.secret, how, target)
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
