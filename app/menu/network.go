package menu

import (
	"fmt"
	"net"
	"slices"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/netpolicy"
	"github.com/calmenu/calmenu/internal/statusicon"
)

// policyNames are the policies as the menu names them, in its order.
var policyNames = []struct{ id, name string }{
	{"allowlist", "Allow list only"},
	{"ask", "Ask about the rest"},
	{"open", "Every public address"},
	{"offline", "Offline"},
}

// networkLine says in a few words what a guest may reach.
func networkLine(w state.Workspace) string {
	if w.Network.Mode == "off" {
		return "off"
	}
	return map[string]string{
		"allowlist": "allow list only", "ask": "allow list, asking", "open": "open", "offline": "offline",
	}[w.Network.Policy]
}

// recentConnections bounds how many connections of each kind the menu shows.
const recentConnections = 6

// networkItem is the submenu about the way out: what is in force, what is asked for, what was refused, what was reached.
func networkItem(s state.State, w state.Workspace) statusicon.Item {
	it := statusicon.Item{Title: "Network"}
	add := func(items ...statusicon.Item) { it.Children = append(it.Children, items...) }
	for _, ask := range w.NetAsks {
		it.Title = "Network (asks)"
		add(statusicon.Item{Title: clip("Asks for "+ask.Destination, 80), Children: []statusicon.Item{
			entry("Allow Once", Action{NetOnce, w.Name, ask.Destination}),
			entry("Always Allow", Action{NetAllow, w.Name, ask.Destination}),
			entry("Deny", Action{NetDeny, w.Name, ask.Destination}),
		}})
	}
	if len(w.NetAsks) > 0 {
		add(separator)
	}
	tunnel := "Tunnel in force"
	if !w.Network.Tunnel {
		tunnel = "Tunnel not in force"
	}
	add(label(clip(tunnel+": "+w.Network.Why, 90)))
	for _, mode := range []struct{ id, name string }{{"auto", "Auto"}, {"on", "On"}, {"off", "Off"}} {
		e := entry(mode.name, Action{NetMode, w.Name, mode.id})
		e.Checkable, e.Checked = true, mode.id == w.Network.Mode
		add(e)
	}
	add(separator)
	for _, p := range policyNames {
		e := entry(p.name, Action{NetPolicy, w.Name, p.id})
		e.Checkable, e.Checked = true, p.id == w.Network.Policy
		add(e)
	}
	if refused := allowable(w.NetRefused); len(refused) > 0 {
		add(separator, label("Refused (click to allow)"))
		for _, r := range refused[:min(len(refused), recentConnections)] {
			add(entry(clip(fmt.Sprintf("Allow %s (%s)", r.Name, age(s.Time, r.Time)), 80), Action{NetAllow, w.Name, r.Name}))
		}
	}
	if len(w.NetReached) > 0 {
		add(separator, label("Reached"))
		for _, r := range w.NetReached[:min(len(w.NetReached), recentConnections)] {
			add(label(clip(fmt.Sprintf("%s (%s)", r.Name, age(s.Time, r.Time)), 80)))
		}
	}
	add(separator, entry("Connections...", Action{NetLog, w.Name, ""}))
	return it
}

// allowable are the refusals a click may take back: not those of addresses in the host's neighbourhood, at which the
// isolation check knocks too.
func allowable(all []state.Refusal) []state.Refusal {
	return slices.DeleteFunc(slices.Clone(all), func(r state.Refusal) bool {
		host, _, err := net.SplitHostPort(r.Name)
		if err != nil {
			host = r.Name // it was only asked for by name
		}
		_, addr, err := netpolicy.Canonical(host)
		if err != nil || !addr.IsValid() {
			return err != nil
		}
		reach, _ := netpolicy.Judge(addr, nil)
		return reach != netpolicy.Public
	})
}
