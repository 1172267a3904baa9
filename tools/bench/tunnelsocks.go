package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// guestSOCKS is how many bytes pass the guest's SOCKS port: as many as take CALMenu's agent a processor time that can be
// counted.
const guestSOCKS = 128 << 20

// socks is the SOCKS port on the guest's loopback, beside OpenSSH's.
func (g *guestWays) socks(ctx context.Context) error {
	cmd, err := g.remoteForward(ctx)
	if err != nil {
		return err
	}
	defer end(cmd)
	if _, err := g.in(ctx, "truncate -s "+strconv.Itoa(guestSOCKS)+" /tmp/sent"); err != nil {
		return err
	}
	flows := []flow{
		{name: "CALMenu", pid: g.agent, move: g.curl("--socks5 127.0.0.1:1080")},
		{name: "ssh -R SOCKS", pid: cmd.Process.Pid, move: g.curl(peerSOCKS)},
	}
	for _, way := range []direction{
		{name: "guest, SOCKS, to the guest", kind: 'd', size: guestSOCKS, clock: 1.0, processor: 1.2, per: 100e6},
		{name: "guest, SOCKS, from the guest", kind: 'u', size: guestSOCKS, clock: 1.0, processor: 1.2, per: 100e6},
	} {
		if err := duelOf(ctx, g.b, way, flows); err != nil {
			return err
		}
	}
	return nil
}

// curl moves bytes by a curl in the guest.
func (g *guestWays) curl(options string) func(context.Context, byte, int64) (time.Duration, error) {
	return func(ctx context.Context, kind byte, size int64) (time.Duration, error) {
		if kind == 'd' {
			s, err := g.fetch(ctx, int(size), options)
			return time.Duration(s * float64(size) / 100e6 * float64(time.Second)), err
		}
		// Without the header it would wait a second for leave to send.
		out, err := g.in(ctx, fmt.Sprintf("curl -sS --max-time 120 -o /dev/null -w '%%{size_upload} %%{time_total}' %s -H Expect: "+
			"-T /tmp/sent http://%s/0", options, g.outside))
		if err != nil {
			return 0, err
		}
		sent, took, _ := strings.Cut(out, " ")
		seconds, err := strconv.ParseFloat(took, 64)
		if err != nil || sent != strconv.FormatInt(size, 10) {
			return 0, fmt.Errorf("sent %q of %d bytes", out, size)
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
}
