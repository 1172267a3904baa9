package isolation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/reach"
)

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

// attempt is one address the guest is to try.
type attempt struct{ how, target, url string }

// attempts are the canary's addresses, directly and through the proxy if there is one.
func (c *canary) attempts(proxy string) []attempt {
	ways := []string{"direct"}
	if proxy != "" {
		ways = append(ways, "proxy")
	}
	var all []attempt
	for _, how := range ways {
		for _, target := range c.addrs {
			all = append(all, attempt{how, target, c.url(how, target)})
		}
	}
	return all
}

// gatewayURL is what the guest is to try at its gateway, whose place in it says GATEWAY.
func (c *canary) gatewayURL() (url, port string) {
	_, port, _ = net.SplitHostPort(c.addrs[0])
	return c.url("direct", reach.Gateway+":"+port), port
}

// attempt has the guest try every address at once, its gateway as well, and through the proxy if there is one: by CALMenu's
// own program, or by curl where that is not or does not account for all of them. It returns a line of evidence for each. It is
// an error if the guest did not account for all: then nothing was proven.
func (c *canary) attempt(ctx context.Context, s *Subject) ([]string, error) {
	if s.Helper != "" {
		if lines, err := c.byHelper(ctx, s); err == nil || ctx.Err() != nil {
			return lines, err
		}
	}
	return c.byCurl(ctx, s)
}

// byHelper tries by CALMenu's own program (package reach).
func (c *canary) byHelper(ctx context.Context, s *Subject) ([]string, error) {
	url, port := c.gatewayURL()
	argv := []string{s.Helper, "reach", s.Proxy, "direct", url}
	all, how := c.attempts(s.Proxy), "direct"
	for _, a := range all {
		if a.how != how {
			how = a.how
			argv = append(argv, how)
		}
		argv = append(argv, a.url)
	}
	return c.accounts(ctx, s.Guest, argv, all, port, func(out, url string) (string, bool) {
		line, ok := reportLine(out, url)
		return strings.TrimPrefix(line, reach.SaysTried), ok
	})
}

// byCurl tries by curl, which every guest has.
func (c *canary) byCurl(ctx context.Context, s *Subject) ([]string, error) {
	url, port := c.gatewayURL()
	argv := []string{"sh", "-c", attemptScript, "sh", url}
	all, how := c.attempts(s.Proxy), ""
	for _, a := range all {
		if a.how != how {
			if how != "" {
				argv = append(argv, "--next")
			}
			how = a.how
			argv = append(argv, attemptOptions...)
			if how == "proxy" {
				argv = append(argv, "--noproxy", "", "--proxy", "http://"+s.Proxy)
			} else {
				argv = append(argv, "--noproxy", "*")
			}
		}
		argv = append(argv, "--output", "/dev/null", a.url)
	}
	return c.accounts(ctx, s.Guest, argv, all, port, func(out, url string) (string, bool) {
		line, ok := reportLine(out, url)
		return "curl exit " + strings.Replace(line, " ", ", HTTP status ", 1), ok
	})
}

// accounts runs a command that tries all of these, and the gateway, which it names first, and tells how each ended.
func (c *canary) accounts(
	ctx context.Context, g Runner, argv []string, all []attempt, port string, told func(out, url string) (string, bool),
) ([]string, error) {
	res, err := g.Output(ctx, guest.Cmd{Argv: argv, Limit: 64 << 10})
	if err != nil {
		return nil, fmt.Errorf("trying to reach the host from inside: %w", err)
	}
	said := string(res.Stdout)
	first, _, _ := strings.Cut(said, "\n")
	gateway, ok := strings.CutPrefix(first, reach.SaysGateway)
	if !ok {
		return nil, errors.New("the guest could not try to reach the host: " + firstLine(res))
	}
	if ip := net.ParseIP(strings.TrimSpace(gateway)); ip != nil {
		target := net.JoinHostPort(ip.String(), port)
		all = append(all, attempt{"direct", target, c.url("direct", target)})
	}
	var lines []string
	for _, a := range all {
		line, ok := told(said, a.url)
		if !ok {
			return nil, errors.New("the guest could not try to reach the host: " + firstLine(res))
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", a.how, a.target, line))
	}
	return lines, nil
}

// reportLine is what a line of out says before this URL.
func reportLine(out, url string) (string, bool) {
	for line := range strings.Lines(out) {
		if head, ok := strings.CutSuffix(strings.TrimSpace(line), " "+url); ok {
			return head, true
		}
	}
	return "", false
}

func firstLine(r guest.Result) string {
	s := strings.TrimSpace(string(r.Stderr))
	if s == "" {
		s = fmt.Sprintf("it exited with %d and did not account for its attempts", r.Exit)
	}
	line, _, _ := strings.Cut(s, "\n")
	return line
}
