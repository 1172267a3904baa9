package netpolicy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/calmenu/calmenu/internal/hint"
)

// entries reads a list of rules with their actions.
func entries(t testing.TB, mode Mode, texts ...string) Policy {
	t.Helper()
	p := Policy{Mode: mode}
	for _, text := range texts {
		r, err := ParseEntry(text, "test")
		if err != nil {
			t.Fatal(err)
		}
		p.Rules = append(p.Rules, r...)
	}
	return p
}

func TestParseEntry(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"example.org", "allow example.org"},
		{"allow example.org:443", "allow example.org:443"},
		{"deny *.example.org", "deny *.example.org"},
		{"deny  10.0.0.0/8", "deny 10.0.0.0/8"},
		{"ask *:443", "ask *:443"},
		{"example.org:443 public", "allow example.org:443 public"},
		{"allow example.org public", "allow example.org public"},
		{"deny", "allow deny"}, // a name is a name
	} {
		got, err := ParseEntry(tt.in, "test")
		if err != nil || len(got) != 1 || got[0].Entry() != tt.want || got[0].Origin != "test" {
			t.Errorf("%q is %+v, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []string{
		"", "permit example.org", "deny ", "deny deny example.org", "example.org private", "allow preset:nothing", "preset:",
		"preset:npm public", "deny 0x7f.1", "example.org  public", strings.Repeat("a.", 300) + "org",
	} {
		if got, err := ParseEntry(bad, ""); err == nil || hint.Of(err) == "" {
			t.Errorf("%q was read as %v (%v)", bad, got, err)
		}
	}
	for _, bad := range []string{"deny example.org", "allow example.org", "ask *"} {
		if got, err := ParseDestination(bad, ""); err == nil {
			t.Errorf("%q was read as the destinations %v", bad, got)
		}
	}
}

func TestPresets(t *testing.T) {
	all := Presets()
	for _, name := range []string{"github", "npm", "pypi", "homebrew", "apt", "anthropic", "openai", "google", "xcode"} {
		i := slices.IndexFunc(all, func(p Preset) bool { return p.Name == name })
		if i < 0 {
			t.Errorf("there is no preset %s", name)
			continue
		}
		if p := all[i]; p.Doc == "" || !strings.HasPrefix(p.Source, "https://") || len(p.rules) == 0 || len(p.rules) != len(p.Allow) {
			t.Errorf("preset %s is not documented: %+v", name, p)
		}
	}
	for _, p := range all {
		for _, r := range p.rules {
			if r.Wide() != "" || r.name == "" || len(r.ports) == 0 || hidesNames(r.name) {
				t.Errorf("preset %s lets a guest too far by %s", p.Name, r)
			}
		}
	}
	p := entries(t, AllowList, "deny preset:npm", "preset:github")
	if d := p.DecideName("registry.npmjs.org", 443); d.Allowed || d.Origin != "test, preset npm" {
		t.Errorf("a denied preset: %+v", d)
	}
	if d := p.Decide("api.github.com", 443, addrs("140.82.112.6"), own); !d.Allowed || d.Origin != "test, preset github" {
		t.Errorf("an allowed preset: %+v", d)
	}
	if d := p.Decide("api.github.com", 443, addrs("10.1.2.3"), own); d.Allowed {
		t.Errorf("a preset leads into the neighbourhood: %+v", d)
	}
}

// TestOrder is what rules do to each other, and the mode to all of them.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		mode     Mode
		rules    []string
		host     string
		resolved []netip.Addr
		want     string // the address, "?" for a question, or "!" and a part of the reason
	}{
		{"the first decides: deny", AllowList, []string{"deny a.test", "*.test", "a.test"}, "a.test", addrs("8.8.8.8"), `!by the rule "a.test"`},
		{"the first decides: allow", AllowList, []string{"a.test", "deny *"}, "a.test", addrs("8.8.8.8"), "8.8.8.8"},
		{"the first decides: ask", AllowList, []string{"ask *.test", "a.test"}, "a.test", addrs("8.8.8.8"), "?"},
		{"a rule for other ports does not decide", AllowList, []string{"deny a.test:22", "a.test"}, "a.test", addrs("8.8.8.8"), "8.8.8.8"},
		{"denied range, name allowed later", AllowList, []string{"deny 8.0.0.0/8", "a.test"}, "a.test", addrs("8.8.8.8"), `!8.8.8.8, refused by the rule "8.0.0.0/8"`},
		{"denied range, name allowed before", AllowList, []string{"a.test", "deny 8.0.0.0/8"}, "a.test", addrs("8.8.8.8"), "8.8.8.8"},
		{"denied range, the name's other address", AllowList, []string{"deny 8.0.0.0/8", "a.test"}, "a.test", addrs("8.8.8.8", "9.9.9.1"), "9.9.9.1"},
		{"denied range by address", Open, []string{"deny 8.0.0.0/8"}, "8.8.8.8", nil, `!by the rule "8.0.0.0/8"`},
		{"denied name, range allowed before", AllowList, []string{"8.0.0.0/8", "deny a.test"}, "a.test", addrs("8.8.8.8"), "!by the rule"},
		{"asking about an address", AllowList, []string{"ask 8.0.0.0/8"}, "8.8.8.8", nil, "?"},
		{"an asking range does not allow a name", AllowList, []string{"ask 8.0.0.0/8", "*"}, "a.test", addrs("8.8.8.8"), "!by the rule"},
		{"a range too weak is no rule for it", AllowList, []string{"*.test", "10.0.0.0/8"}, "a.test", addrs("10.1.2.3"), "10.1.2.3"},
		{"denied before that", AllowList, []string{"deny 10.1.0.0/16", "*.test", "10.0.0.0/8"}, "a.test", addrs("10.1.2.3"), "!by the rule"},

		{"open: any name", Open, nil, "a.test", addrs("8.8.8.8"), "8.8.8.8"},
		{"open: any address", Open, nil, "8.8.8.8", nil, "8.8.8.8"},
		{"open: not what is denied", Open, []string{"deny *.test"}, "a.test", addrs("8.8.8.8"), "!by the rule"},
		{"open: not loopback", Open, nil, "a.test", addrs("127.0.0.1"), "!loopback"},
		{"open: not the host", Open, nil, "10.20.30.40", nil, "!of this host"},
		{"open: not the LAN", Open, nil, "192.168.7.7", nil, "!private"},
		{"open: not the LAN by name", Open, nil, "a.test", addrs("192.168.7.7"), "!private"},
		{"open: not metadata", Open, nil, "169.254.169.254", nil, "!metadata"},
		{"open: not translated metadata", Open, nil, "64:ff9b::a9fe:a9fe", nil, "!metadata"},
		{"open: translated public", Open, nil, "64:ff9b::808:808", nil, "64:ff9b::808:808"},
		{"open: not 6to4 of the host", Open, nil, "2002:a14:1e28::1", nil, "!tunnelled"},
		{"open: not Teredo", Open, nil, "2001:0:1::1", nil, "!tunnelled"},
		{"open: not IPv4-compatible", Open, nil, "::10.20.30.40", nil, "!unspecified"},
		{"open: not DNS over HTTPS", Open, nil, "dns.google", addrs("8.8.8.8"), "!resolves names for others"},
		{"open: LAN that is named", Open, []string{"nas.test"}, "nas.test", addrs("192.168.7.7"), "192.168.7.7"},

		{"wildcards are not for DNS over HTTPS", AllowList, []string{"*", "*.google.com"}, "dns.google.com", addrs("8.8.8.8"), "!resolves names for others"},
		{"DNS over HTTPS that is named", AllowList, []string{"dns.google"}, "dns.google", addrs("8.8.8.8"), "8.8.8.8"},
		{"denying wildcards are", AllowList, []string{"deny *", "dns.google"}, "dns.google", addrs("8.8.8.8"), "!by the rule"},
		{"asking is no way to DNS over HTTPS", Ask, nil, "dns.google", addrs("8.8.8.8"), "!resolves names for others"},

		{"public: a public address", AllowList, []string{"a.test public"}, "a.test", addrs("8.8.8.8"), "8.8.8.8"},
		{"public: not the LAN", AllowList, []string{"a.test public"}, "a.test", addrs("192.168.7.7"), "!private"},
		{"public: not even with a range", AllowList, []string{"10.0.0.0/8 public"}, "10.1.2.3", nil, "!private"},
		{"public: the next rule may", AllowList, []string{"a.test public", "a.test"}, "a.test", addrs("192.168.7.7"), "192.168.7.7"},

		{"ask: what no rule is for", Ask, []string{"b.test"}, "a.test", addrs("8.8.8.8"), "?"},
		{"ask: an address no rule is for", Ask, nil, "8.8.8.8", nil, "?"},
		{"ask: not about the LAN", Ask, nil, "192.168.7.7", nil, "!not on the allow list"},
		{"ask: not about loopback", Ask, nil, "127.0.0.1", nil, "!not on the allow list"},
		{"ask: the LAN that a rule asks about", Ask, []string{"ask 192.168.0.0/16"}, "192.168.7.7", nil, "?"},
		{"ask: not what is allowed", Ask, []string{"a.test"}, "a.test", addrs("8.8.8.8"), "8.8.8.8"},
		{"ask: not what is denied", Ask, []string{"deny a.test"}, "a.test", addrs("8.8.8.8"), "!by the rule"},
		{"ask: not about nonsense", Ask, nil, "0x7f.1", addrs("127.0.0.1"), "!usual spelling"},

		{"offline: not what is allowed", Offline, []string{"a.test", "127.0.0.1"}, "a.test", addrs("8.8.8.8"), "!offline"},
		{"offline: not what is asked for", Offline, []string{"ask a.test"}, "a.test", addrs("8.8.8.8"), "!offline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := entries(t, tt.mode, tt.rules...)
			byName, d := p.DecideName(tt.host, 443), p.Decide(tt.host, 443, tt.resolved, own)
			if tt.want == "?" {
				if !byName.Ask || byName.Allowed || d.Allowed || d.Reason == "" {
					t.Errorf("%+v, then %+v; want a question", byName, d)
				}
				return
			}
			if reason, refused := strings.CutPrefix(tt.want, "!"); refused {
				if d.Allowed || byName.Ask || !strings.Contains(d.Reason, reason) {
					t.Errorf("got %+v, want refusal: %s", d, reason)
				}
			} else if !d.Allowed || !byName.Allowed || d.Addr.String() != tt.want || d.Rule == "" || d.Origin == "" {
				t.Errorf("got %+v, want %s", d, tt.want)
			}
		})
	}
}

func TestDecideLookup(t *testing.T) {
	p := entries(t, AllowList, "deny bad.test", "deny half.test:22", "ask who.test:443", "*.test:443", "192.0.2.7")
	for _, tt := range []struct{ name, want string }{
		{"a.test", "allow"},
		{"half.test", "allow"},
		{"bad.test", "by the rule"},
		{"who.test", "allow"}, // at another port than the one that is asked about, or at this
		{"other.example", "not on the allow list"},
		{"192.0.2.7", "no name"},
		{"0x7f.1", "usual spelling"},
	} {
		d := p.DecideLookup(tt.name)
		if got := d.Allowed; got != (tt.want == "allow") || !got && !strings.Contains(d.Reason, tt.want) {
			t.Errorf("%s: %+v, want %s", tt.name, d, tt.want)
		}
	}
	if d := (Policy{Mode: Ask}).DecideLookup("a.test"); !d.Ask || d.Allowed {
		t.Errorf("asking: %+v", d)
	}
	if d := (Policy{Mode: Offline, Rules: p.Rules}).DecideLookup("a.test"); d.Allowed {
		t.Errorf("offline: %+v", d)
	}
}

// TestOrderProperties holds for every list of rules and every destination.
func TestOrderProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		action := rapid.SampledFrom([]string{"", "allow ", "deny ", "ask "})
		where := rapid.SampledFrom([]string{
			"example.org", "*.example.org", "*", "*:443", "b.test:22,443", "10.0.0.0/8", "0.0.0.0/0", "::/0", "8.8.8.8", "127.0.0.1",
			"preset:npm", "a.example.org public",
		})
		rule := rapid.Custom(func(rt *rapid.T) string { return action.Draw(rt, "action") + where.Draw(rt, "where") })
		host := rapid.SampledFrom([]string{
			"a.example.org", "example.org", "b.test", "registry.npmjs.org", "dns.google", "10.0.0.1", "127.0.0.1", "8.8.8.8", "0x7f.1",
		}).Draw(rt, "host")
		port := rapid.SampledFrom([]int{22, 443}).Draw(rt, "port")
		resolved := rapid.SliceOfN(rapid.SampledFrom(addrs("8.8.8.8", "1.1.1.1", "10.0.0.1", "127.0.0.1", "::1", "2606:4700::1")), 0, 3).
			Draw(rt, "resolved")
		mode := rapid.SampledFrom([]Mode{AllowList, Ask, Open, Offline}).Draw(rt, "mode")
		texts := rapid.SliceOfN(rule, 0, 5).Draw(rt, "rules")
		p := entries(t, mode, texts...)
		byName, d := p.DecideName(host, port), p.Decide(host, port, resolved, own)

		if d.Allowed && !byName.Allowed {
			rt.Errorf("allowed at an address, but not by name: %+v, %+v", byName, d)
		}
		if d.Allowed != d.Addr.IsValid() || !d.Allowed && d.Reason == "" || d.Ask || byName.Ask && byName.Allowed {
			rt.Errorf("a decision that is none: %+v, %+v", byName, d)
		}
		if mode == Offline && (d.Allowed || byName.Allowed || byName.Ask) {
			rt.Errorf("offline: %+v", d)
		}
		// A rule in front that denies the destination wins over all that follow.
		ahead := "deny " + host
		if _, err := ParseEntry(ahead, ""); err == nil {
			if d := entries(t, mode, append([]string{ahead}, texts...)...).Decide(host, port, resolved, own); d.Allowed {
				rt.Errorf("allowed though denied first: %+v", d)
			}
		}
		// What is behind a rule that decides changes nothing.
		if i := slices.IndexFunc(p.Rules, func(r Rule) bool { return r.forPort(port) && r.name == "*" }); i >= 0 {
			cut := Policy{Mode: mode, Rules: p.Rules[:i+1]}
			if got := cut.DecideName(host, port); got.Allowed != byName.Allowed && !hidesNames(host) && !isAddr(host) {
				rt.Errorf("rules behind one for everything count: %+v, %+v", got, byName)
			}
		}
		// An allow list is never more than what the open mode lets through.
		if mode == AllowList && d.Allowed {
			if open := (Policy{Mode: Open, Rules: p.Rules}).Decide(host, port, resolved, own); !open.Allowed {
				rt.Errorf("allowed by the list, refused in the open: %+v", open)
			}
		}
		// What must be named is not let through by anything else.
		if d.Allowed && !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.forAddr(d.Addr) && r.prefix.IsSingleIP() }) {
			checkDecision(rt, d, own)
		}
	})
}

func isAddr(host string) bool { _, err := netip.ParseAddr(host); return err == nil }
