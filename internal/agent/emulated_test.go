package agent_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/agent"
)

// TestEmulated: where the processor is emulated, each start of the program sets the agent's variables, and nothing else is
// another one.
func TestEmulated(t *testing.T) {
	list, err := agent.Parse([]byte(`agents:
  - {id: plain, name: Plain, launch: [plain]}
  - id: slow
    name: Slow
    launch: [slow]
    headless: [run, "{prompt}"]
    emulated: [A=1, B=two words]
    auth: {check: [slow, status], login: [slow, login]}
`))
	if err != nil {
		t.Fatal(err)
	}
	before, err := list.Get("slow")
	if err != nil {
		t.Fatal(err)
	}
	emulated := list.Emulated()
	slow, err := emulated.Get("slow")
	if err != nil {
		t.Fatal(err)
	}
	headless, err := slow.HeadlessCommand("go")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string][]string{
		"env|A=1|B=two words|slow":        slow.Launch,
		"env|A=1|B=two words|slow|run|go": headless,
		"env|A=1|B=two words|slow|status": slow.Auth.Check,
		"env|A=1|B=two words|slow|login":  slow.Auth.Login,
		"slow":                            before.Launch,
		"plain":                           emulated[0].Launch,
	} {
		if diff := cmp.Diff(strings.Split(got, "|"), want); diff != "" {
			t.Error(diff)
		}
	}
	if slow.Auth.Logout != nil || slow.Version != nil {
		t.Errorf("commands it does not have: %q %q", slow.Auth.Logout, slow.Version)
	}
	own := get(t, "agents: {opencode: {launch_command: mine}}", "opencode")
	if diff := cmp.Diff([]string{"mine"}, (agent.List{*own}).Emulated()[0].Launch); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range []string{"A", "=1", "-u", "A B=1"} {
		if _, err := agent.Parse([]byte("agents: [{id: a, name: A, launch: [a], emulated: [\"" + wrong + "\"]}]")); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}
