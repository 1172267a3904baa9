package app

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/hostproxy"
	"github.com/calmenu/calmenu/internal/netlog"
	"github.com/calmenu/calmenu/internal/netpolicy"
)

// SetNetworkMode sets whether a workspace's traffic goes through the tunnel: auto, on or off. It is in force within a
// second, also in a workspace that runs.
func (a *App) SetNetworkMode(workspace, mode string) error {
	return a.setNetwork(workspace, "proxy.mode", mode)
}

// SetNetworkPolicy sets what becomes of destinations no rule is for. Connections that exist are left alone.
func (a *App) SetNetworkPolicy(workspace, policy string) error {
	return a.setNetwork(workspace, "network.policy", policy)
}

func (a *App) setNetwork(workspace, key, value string) error {
	w, err := a.Workspace(workspace)
	if err != nil {
		return err
	}
	return a.Config().Set(a.Home.VMFile(w.Name), key, value)
}

// NetworkRule is a rule of a workspace's policy, as it is shown.
type NetworkRule struct {
	Action      string `json:"action"`
	Destination string `json:"destination"`
	Origin      string `json:"origin"`
}

// NetworkPolicy is a workspace's policy, as it is shown.
type NetworkPolicy struct {
	Workspace string        `json:"workspace"`
	Policy    string        `json:"policy"`
	Rules     []NetworkRule `json:"rules"` // in the order in which they decide
}

// NetworkRules returns the policy of a workspace as it is now.
func (a *App) NetworkRules(ctx context.Context, workspace string) (NetworkPolicy, error) {
	w, err := a.Workspace(workspace)
	if err != nil {
		return NetworkPolicy{}, err
	}
	p := a.compose(w, a.fixedRules(ctx, w.Name), time.Now())
	shown := NetworkPolicy{Workspace: w.Name, Policy: w.Network.Policy, Rules: []NetworkRule{}}
	for _, r := range p.Rules {
		shown.Rules = append(shown.Rules, NetworkRule{r.Action.String(), r.String(), r.Origin})
	}
	return shown, nil
}

// NetworkStatus is how a workspace's guest gets out.
type NetworkStatus struct {
	Workspace string `json:"workspace"`
	Policy    string `json:"policy"`
	NetReach
	HostProxy string         `json:"host_proxy"`
	Rules     int            `json:"rules"`
	Recent    []netlog.Entry `json:"recent"`
	Asked     []string       `json:"asked,omitempty"` // destinations that wait for an answer
}

// recentEntries bounds what a status shows of the log.
const recentEntries = 8

// NetworkStatus tells how a workspace's guest gets out, and what it did of late.
func (a *App) NetworkStatus(ctx context.Context, workspace string) (NetworkStatus, error) {
	w, err := a.Workspace(workspace)
	if err != nil {
		return NetworkStatus{}, err
	}
	rules, err := a.NetworkRules(ctx, w.Name)
	if err != nil {
		return NetworkStatus{}, err
	}
	st := NetworkStatus{
		Workspace: w.Name, Policy: w.Network.Policy, HostProxy: a.hostProxy(w).Describe(), Rules: len(rules.Rules),
		NetReach: decideReach(w.Proxy.Mode, w.Network.Probe, a.lastReach(w.Name)), Recent: []netlog.Entry{},
	}
	s, err := a.State(ctx)
	if err != nil {
		return NetworkStatus{}, err
	}
	x, _ := s.Find(w.Name)
	for _, ask := range x.NetAsks {
		st.Asked = append(st.Asked, ask.Destination)
	}
	entries, err := a.NetworkLog(w.Name, NetworkFilter{})
	if len(entries) > recentEntries {
		entries = entries[len(entries)-recentEntries:]
	}
	st.Recent = append(st.Recent, entries...)
	return st, err
}

// NetworkFilter says which entries of a log are wanted.
type NetworkFilter struct {
	Denied bool
	Since  time.Time
}

func (f NetworkFilter) wants(e netlog.Entry) bool {
	return (!f.Denied || !e.Allowed) && !e.Time.Before(f.Since)
}

// KeepProxyLogin puts the login ("user:password") for a proxy of this host's into its keychain. What runs uses it within
// a second.
func (a *App) KeepProxyLogin(proxy *url.URL, login string) error {
	if err := hostproxy.Login(proxy, login); err != nil {
		return err
	}
	return a.proxyLoginChanged()
}

// DropProxyLogin removes it. Without one the error is hostproxy.ErrNoLogin.
func (a *App) DropProxyLogin(proxy *url.URL) error {
	if err := hostproxy.Logout(proxy); err != nil {
		return err
	}
	return a.proxyLoginChanged()
}

// proxyLoginChanged has every process forget what the keychain said.
func (a *App) proxyLoginChanged() error {
	if err := atomicfile.Write(a.Home.ProxyLoginsFile(), []byte(time.Now().Format(time.RFC3339Nano)+"\n"), 0o600); err != nil {
		return fmt.Errorf("telling what runs of the login: %w", err)
	}
	return nil
}

// NetworkLog returns the entries of a workspace's log, oldest first.
func (a *App) NetworkLog(workspace string, f NetworkFilter) ([]netlog.Entry, error) {
	w, err := a.Workspace(workspace)
	if err != nil {
		return nil, err
	}
	entries := []netlog.Entry{}
	err = netlog.Read(a.Home.LogsDir(), w.Name, func(e netlog.Entry) bool {
		if f.wants(e) {
			entries = append(entries, e)
		}
		return true
	})
	return entries, err
}

// FollowNetworkLog calls each with the entries that are written from now on, until ctx ends.
func (a *App) FollowNetworkLog(ctx context.Context, workspace string, f NetworkFilter, each func(netlog.Entry)) error {
	w, err := a.Workspace(workspace)
	if err != nil {
		return err
	}
	return netlog.Follow(ctx, a.Home.LogsDir(), w.Name, func(e netlog.Entry) {
		if f.wants(e) {
			each(e)
		}
	})
}

// WouldReach says what the policy would say to a destination ("host:port"; port 443 if there is none), without resolving
// or asking anything.
func (a *App) WouldReach(ctx context.Context, workspace, host string, port int) (netpolicy.Decision, error) {
	w, err := a.Workspace(workspace)
	if err != nil {
		return netpolicy.Decision{}, err
	}
	return a.compose(w, a.fixedRules(ctx, w.Name), time.Now()).Foresee(host, port), nil
}
