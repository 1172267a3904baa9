package app

import (
	"slices"
	"testing"

	"github.com/calmenu/calmenu/internal/netpolicy"
)

// An agent reaches its own service, and that of no agent the workspace has not.
func TestAgentsReachTheirServices(t *testing.T) {
	a, _ := open(t)
	if err := a.New(t.Context(), "demo", map[string]string{"agent": "codex"}, nil); err != nil {
		t.Fatal(err)
	}
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	allowed := func(host string) bool {
		return netpolicy.Policy{Rules: a.agentServices(w)}.DecideName(host, 443).Allowed
	}
	if !allowed("api.openai.com") || allowed("api.anthropic.com") || allowed("example.org") {
		t.Errorf("codex: %v", a.agentServices(w))
	}
	if err := a.Start(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	a.remember(t.Context(), "demo", map[string]AgentState{"claude-code": {Installed: true}})
	if !allowed("api.anthropic.com") || allowed("cursor.com") {
		t.Errorf("with Claude Code installed: %v", a.agentServices(w))
	}
	for _, ag := range a.Agents() {
		if (len(ag.Services) == 0) != (ag.ID == "shell") {
			t.Errorf("%s talks to %q", ag.ID, ag.Services)
		}
		for _, s := range ag.Services {
			if r, err := netpolicy.ParseRule(s); err != nil || !slices.Contains([]string{s, s + ":443"}, r.String()) {
				t.Errorf("%s: service %q is the rule %v, %v", ag.ID, s, r, err)
			}
		}
	}
}
