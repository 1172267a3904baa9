package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/session"
)

const (
	probeTime  = 8 * time.Second // for the guest to reach the target by itself
	probeFresh = 12 * time.Hour  // an answer holds as long on the same network
	// reachEvery is how soon a changed mode is in force.
	reachEvery = 500 * time.Millisecond
)

// reach is whether a guest's traffic goes through the tunnel, as its mode and, if that is auto, a test from inside say.
type reach struct {
	changed chan struct{} // holds one: the network has changed
	last    atomic.Pointer[NetReach]
	testing atomic.Pointer[string] // what a test is trying now
	through atomic.Bool            // something of the guest's went there through the tunnel meanwhile
}

// NetReach is how a guest gets out: what was found, and what follows from it.
type NetReach struct {
	Mode   string    `json:"mode"`   // auto, on or off
	Tunnel bool      `json:"tunnel"` // in force
	Why    string    `json:"why"`
	Probe  string    `json:"probe,omitempty"` // what was tried
	Direct bool      `json:"direct"`          // the guest reaches it by itself
	Detail string    `json:"detail,omitempty"`
	Tested time.Time `json:"tested,omitzero"`
	// Network identifies the host's network the test was made on.
	Network string `json:"network,omitempty"`
}

func (a *App) reachFile(name string) string {
	return filepath.Join(a.Home.WorkspaceDir(name), "network-reach.json")
}

// NetworkReach is what is known of how a workspace's guest gets out.
func (a *App) NetworkReach(name string) (NetReach, error) {
	w, err := a.Workspace(name)
	if err != nil {
		return NetReach{}, err
	}
	return decideReach(w.Proxy.Mode, w.Network.Probe, a.lastReach(w.Name)), nil
}

// lastReach is the last test that was made; zero if there is none.
func (a *App) lastReach(name string) NetReach {
	var r NetReach
	if b, err := os.ReadFile(a.reachFile(name)); err != nil || json.Unmarshal(b, &r) != nil {
		return NetReach{}
	}
	return r
}

// decideReach is the decision: it is a pure function of the mode and the last test.
func decideReach(mode, probe string, last NetReach) NetReach {
	r := NetReach{Mode: mode}
	switch mode {
	case "on":
		r.Tunnel, r.Why = true, "switched on"
		return r
	case "off":
		r.Why = "switched off: the guest has no network but its own"
		return r
	}
	if last.Probe != probe || last.Tested.IsZero() {
		r.Tunnel, r.Why = true, "not tested yet whether the guest gets out by itself"
		return r
	}
	r.Probe, r.Direct, r.Detail, r.Tested, r.Network = last.Probe, last.Direct, last.Detail, last.Tested, last.Network
	r.Tunnel = !last.Direct
	r.Why = "the guest reaches " + probe + " by itself"
	if !last.Direct {
		r.Why = "the guest does not reach " + probe + " by itself"
	}
	return r
}

// heard notes that the host's network has changed: what was tested says nothing of this one.
func (r *reach) heard() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// known is the last test, this process's or another's.
func (n *network) known() NetReach {
	if r := n.reach.last.Load(); r != nil {
		return *r
	}
	r := n.lastReach(n.name)
	n.reach.last.Store(&r)
	return r
}

// inForce tells whether the guest's traffic goes through the tunnel now.
func (n *network) inForce() bool {
	mode, probe := n.wants()
	return decideReach(mode, probe, n.known()).Tunnel
}

// during runs f while the tunnel is in force, and waits where it is not, until ctx ends or f fails. It is in force until a
// test says otherwise: nobody waits for one.
func (r *reach) during(ctx context.Context, n *network, c runner, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var tests sync.WaitGroup
	tests.Go(func() { n.keepTesting(ctx, c) })
	defer tests.Wait()
	defer cancel()
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for {
		if n.inForce() {
			if err := n.whileOn(ctx, f); err != nil || ctx.Err() != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// whileOn runs f until the tunnel is no longer in force (then there is no error), ctx ends or f fails.
func (n *network) whileOn(ctx context.Context, f func(context.Context) error) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- f(running) }()
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	for n.inForce() {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
	}
	stop()
	if err := <-done; err != nil && running.Err() == nil {
		return err
	}
	return nil
}

// keepTesting has the guest try to get out by itself when nothing is known of that: at first, when the host's network or
// the setting has changed, and after a long time.
func (n *network) keepTesting(ctx context.Context, c runner) {
	tick := time.NewTicker(reachEvery)
	defer tick.Stop()
	network, looked := networkID(), time.Now()
	for {
		if time.Since(looked) >= time.Minute {
			network, looked = networkID(), time.Now()
		}
		mode, probe := n.wants()
		last := n.known()
		if mode == "auto" && (last.Probe != probe || last.Network != network || time.Since(last.Tested) >= probeFresh) {
			n.test(ctx, c, probe, network)
		}
		select {
		case <-tick.C:
		case <-n.reach.changed:
			network, looked = networkID(), time.Now()
		case <-ctx.Done():
			return
		}
	}
}

// throughTime is how long after its end a connection that went through the tunnel is known to have.
const throughTime = 2 * time.Second

// test has the guest try, and notes what came of it.
func (n *network) test(ctx context.Context, c runner, probe, network string) {
	n.reach.through.Store(false)
	n.reach.testing.Store(&probe)
	defer n.reach.testing.Store(nil)
	r := probeGuest(ctx, c, probe)
	if r.Direct {
		select {
		case <-time.After(throughTime):
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return
	}
	if n.reach.through.Load() && r.Direct {
		r.Direct, r.Detail = false, "only through the tunnel"
	}
	r.Network = network
	n.reach.last.Store(&r)
	b, err := json.Marshal(r)
	if err == nil {
		err = atomicfile.Write(n.reachFile(n.name), b, 0o600)
	}
	if err != nil {
		n.Log.Warn().Str("workspace", n.name).Err(err).Msg("noting whether the guest gets out by itself")
	}
	n.Log.Info().Str("workspace", n.name).Str("probe", probe).Bool("direct", r.Direct).Str("detail", r.Detail).
		Msg("whether the guest gets out by itself")
}

// tested tells whether a destination is the one a test is trying now.
func (r *reach) tested(host string, port int) bool {
	probe := r.testing.Load()
	return probe != nil && *probe == netpolicy.HostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)
}

// runner runs a command in the guest.
type runner interface {
	Output(ctx context.Context, c guest.Cmd) (guest.Result, error)
}

// probeGuest tries from inside whether a TLS server answers without any proxy. A guest that lies has its network on its
// own terms, which are none where the machine has no network.
func probeGuest(ctx context.Context, g runner, probe string) NetReach {
	r := NetReach{Probe: probe, Tested: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, probeTime+5*time.Second)
	defer cancel()
	res, err := g.Output(ctx, guest.Cmd{Limit: 4096, Argv: []string{
		"curl", "--silent", "--show-error", "--head", "--noproxy", "*", "--output", "/dev/null", "--connect-timeout", "5",
		"--max-time", fmt.Sprint(int(probeTime.Seconds())), "https://" + probe + "/",
	}})
	switch {
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		r.Detail = session.Printable(err.Error())
	case err != nil:
		r.Detail = "no answer in time"
	case res.Exit == 0:
		r.Direct = true
	default:
		line, _, _ := strings.Cut(strings.TrimSpace(string(res.Stderr)), "\n")
		r.Detail = session.Printable(line)
	}
	return r
}

// networkID identifies the network the host is on, by its addresses.
func networkID() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "unknown"
	}
	var all []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			all = append(all, a.String())
		}
	}
	slices.Sort(all)
	sum := sha256.Sum256([]byte(strings.Join(all, " ")))
	return hex.EncodeToString(sum[:8])
}
