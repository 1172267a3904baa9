package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hostproxy"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/netlog"
	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/vm"
)

// network is the way out of one workspace while it is kept: the policy as it is now, the gate every connection goes
// through, and what is recorded of it.
type network struct {
	*App
	name  string
	fixed []netpolicy.Rule // of this host and the guest's image
	gate  *tunnel.Gate
	log   *netlog.Log
	told  told
	asks  asks
	reach reach

	mu      sync.Mutex // guards what follows
	looked  time.Time
	stamps  [3]fileStamp
	current netpolicy.Policy
	mode    string // of the tunnel: auto, on or off
	probe   string
	proxy   *hostproxy.Source
	proxyOf proxyOf
}

// proxyOf is what the way out of this host is found by. When it changes, nothing holds of what was found.
type proxyOf struct {
	setting, pac string
	logins       fileStamp
}

// fileStamp tells whether a file has changed.
type fileStamp struct {
	at   time.Time
	size int64
}

func stampOf(file string) fileStamp {
	fi, err := os.Stat(file)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{fi.ModTime(), fi.Size()}
}

// policyEvery is how old the policy in force may be: how soon a change is in force.
const policyEvery = 250 * time.Millisecond

func (a *App) openNetwork(ctx context.Context, w *config.Workspace) *network {
	n := &network{App: a, name: w.Name, fixed: a.fixedRules(ctx, w.Name), log: netlog.Open(a.Home.LogsDir(), w.Name)}
	n.reach.changed = make(chan struct{}, 1)
	n.gate = &tunnel.Gate{
		Policy: n.policy, Ask: n.ask, Log: n.record, Upstream: n.upstream,
		Advice: "to allow it, on the host: CALMenu net allow",
	}
	n.look(w)
	return n
}

func (n *network) close() {
	if err := n.log.Close(); err != nil {
		n.Log.Warn().Str("workspace", n.name).Err(err).Msg("closing the network log")
	}
}

// policy is the policy with everything people have changed by now. What cannot be read leaves the last one in force.
func (n *network) policy() netpolicy.Policy {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refresh(time.Now())
	return n.current
}

// wants is the tunnel's mode, and what a guest must reach by itself for auto to leave it alone.
func (n *network) wants() (mode, probe string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refresh(time.Now())
	return n.mode, n.probe
}

// refresh looks at the files again, if it is time. n.mu is held.
func (n *network) refresh(now time.Time) {
	if now.Sub(n.looked) < policyEvery {
		return
	}
	stamps := [3]fileStamp{
		stampOf(n.Home.ConfigFile()), stampOf(n.Home.VMFile(n.name)), stampOf(n.answersFile(n.name)),
	}
	if stamps[0] != n.stamps[0] && !n.looked.IsZero() {
		if err := n.Reload(); err != nil {
			n.Log.Warn().Str("workspace", n.name).Err(err).Msg("config.yaml was changed and cannot be read")
		}
	}
	n.stamps, n.looked = stamps, now
	w, err := n.Workspace(n.name)
	if err != nil {
		n.Log.Warn().Str("workspace", n.name).Err(err).Msg("the network's settings cannot be read; the last ones hold")
		return
	}
	n.adopt(w, now)
}

// look takes the first policy.
func (n *network) look(w *config.Workspace) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.adopt(w, time.Now())
}

func (n *network) adopt(w *config.Workspace, now time.Time) {
	n.mode, n.probe = w.Proxy.Mode, w.Network.Probe
	of := proxyOf{w.Network.HostProxy, w.Network.HostProxyPAC, stampOf(n.Home.ProxyLoginsFile())}
	if n.proxy == nil || of != n.proxyOf {
		n.proxy, n.proxyOf = n.hostProxy(w), of
	}
	n.current = n.compose(w, n.fixed, now)
}

// compose is the policy of a workspace, its rules in the order in which they decide: what a person has answered, the rules
// and the allow list of the configuration, the services of its agents, and what is fixed.
func (a *App) compose(w *config.Workspace, fixed []netpolicy.Rule, now time.Time) netpolicy.Policy {
	p := netpolicy.Policy{Mode: netpolicy.Modes[w.Network.Policy], HiddenNames: w.Network.HiddenNames}
	p.Rules = a.answeredRules(w.Name, now)
	add := func(key string, entries []string, parse func(text, origin string) ([]netpolicy.Rule, error)) {
		origin := originOf(w, key)
		for _, s := range entries {
			rules, err := parse(s, origin)
			if err != nil {
				a.Log.Warn().Str("rule", s).Err(err).Msg(key) // the configuration has checked it; refuse to guess
				continue
			}
			p.Rules = append(p.Rules, rules...)
		}
	}
	add("network.rules", w.Network.Rules, netpolicy.ParseEntry)
	add("network.allow", w.Network.Allow, netpolicy.ParseDestination)
	p.Rules = append(p.Rules, a.agentServices(w)...)
	p.Rules = append(p.Rules, fixed...)
	return p
}

// originOf names a setting and the place it comes from, for people.
func originOf(w *config.Workspace, key string) string {
	for _, e := range w.Entries() {
		if e.Key == key && e.Origin != "default" {
			return key + " (" + e.Origin + ")"
		}
	}
	return key
}

// agentServices are the destinations the workspace's own agent and those installed in it cannot do without.
func (a *App) agentServices(w *config.Workspace) []netpolicy.Rule {
	known := a.CachedAgents(w.Name)
	var rules []netpolicy.Rule
	list := a.Agents()
	for i := range list {
		ag := &list[i]
		if ag.ID != w.Agent && !known[ag.ID].Installed {
			continue
		}
		for _, s := range ag.Services {
			r, err := netpolicy.ParseRule(s)
			if err != nil {
				a.Log.Warn().Str("agent", ag.ID).Str("service", s).Err(err).Msg("agent's service")
				continue
			}
			r.Origin = "services of " + ag.Name
			rules = append(rules, r)
		}
	}
	return rules
}

// fixedRules are the package registries this host itself is set up to use, and those the guest's image was made from and
// came set up for.
func (a *App) fixedRules(ctx context.Context, name string) []netpolicy.Rule {
	var rules []netpolicy.Rule
	add := func(more []netpolicy.Rule, origin string) {
		for _, r := range more {
			r.Origin = origin
			known := slices.ContainsFunc(rules, func(x netpolicy.Rule) bool { return x.String() == r.String() })
			if !known {
				rules = append(rules, r)
			}
		}
	}
	add(tunnel.HostRegistries(ctx), "package registries of this host")
	if s, ok := a.Driver.(vm.Supplied); ok {
		urls, err := s.Registries(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.Log.Warn().Str("workspace", name).Err(err).Msg("reading the image's registries")
		}
		add(tunnel.SourceRules(urls), "package registries of the image")
	}
	return rules
}

// hostProxy is how this host itself gets out.
func (a *App) hostProxy(w *config.Workspace) *hostproxy.Source {
	return hostproxy.New(hostproxy.Options{
		Setting: w.Network.HostProxy, PAC: w.Network.HostProxyPAC,
		Warn: func(err error) { a.Log.Warn().Err(err).Msg("the host's proxy") },
	})
}

// upstream is the proxy this host uses for a URL.
func (n *network) upstream(u *url.URL) (*url.URL, error) {
	n.mu.Lock()
	n.refresh(time.Now())
	proxy := n.proxy
	n.mu.Unlock()
	return proxy.For(u)
}

// network gives the guest its one way out: what its programs send is carried here, under the policy. Where the tunnel is
// not in force it is not there.
func (k *keeper) network(ctx context.Context, c *guest.Client) error {
	if !k.net.inForce() {
		k.settled()
	}
	return k.net.reach.during(ctx, k.net, c, func(ctx context.Context) error {
		return k.carry(ctx, k.net.gate)
	})
}

// record logs a connection or refusal, and journals each name once in a while: the menu shows them.
func (n *network) record(c tunnel.Connection) {
	if n.reach.tested(c.Host, c.Port) {
		n.reach.through.Store(true)
	}
	if err := n.log.Add(c); err != nil {
		n.Log.Warn().Str("workspace", n.name).Err(err).Msg("logging a connection")
	}
	e := journal.Event{Kind: journal.Connection, Workspace: n.name, Path: netpolicy.HostPort(c.Host, c.Port), Detail: c.Reason}
	if c.Way == tunnel.WayDNS {
		e.Path = c.Host // which port is wanted is not known yet
	}
	if c.Allowed {
		e.Kind, e.Detail = journal.Reached, c.Rule
	}
	what := string(e.Kind) + c.Host
	if c.Way == tunnel.WayDNS {
		what += " by name"
	}
	if !n.told.news(what, time.Now()) {
		return
	}
	if err := n.Journal.Append(e); err != nil {
		n.Log.Warn().Err(err).Msg("journaling a connection")
	}
}

// told decides which connections are journaled: a guest that knocks a thousand times a second, and the canary of every
// isolation check, are told of once in a while.
type told struct {
	mu   sync.Mutex // guards last
	last map[string]time.Time
}

const (
	toldEvery = 10 * time.Minute
	toldMost  = 64 // told of within that time
)

// news tells whether this has not been told of lately.
func (r *told) news(what string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for h, t := range r.last {
		if now.Sub(t) >= toldEvery {
			delete(r.last, h)
		}
	}
	if _, told := r.last[what]; told || len(r.last) >= toldMost {
		return false
	}
	if r.last == nil {
		r.last = map[string]time.Time{}
	}
	r.last[what] = now
	return true
}

// weakened lists what a workspace's configuration lets through beyond names of its own choosing.
func weakened(w *config.Workspace) []string {
	var why []string
	if w.Network.Policy == "open" {
		why = append(why, "network.policy lets the guest reach every public address")
	}
	for key, entries := range map[string][]string{"network.allow": w.Network.Allow, "network.rules": w.Network.Rules} {
		for _, s := range entries {
			rules, err := netpolicy.ParseEntry(s, "")
			if err != nil {
				continue
			}
			for _, r := range rules {
				if wide := r.Wide(); wide != "" {
					why = append(why, fmt.Sprintf("%s lets the guest reach %s, %s", key, r, wide))
				}
			}
		}
	}
	slices.Sort(why)
	return why
}
