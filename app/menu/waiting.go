package menu

import (
	"slices"

	"github.com/calmenu/calmenu/app/state"
)

// AgentName returns the name people know an agent by.
func AgentName(w state.Workspace, agent string, choices []Choice) string {
	if i := slices.IndexFunc(choices, func(c Choice) bool { return c.ID == agent }); i >= 0 {
		return choices[i].Name
	}
	if agent == w.Agent {
		return w.AgentName
	}
	return agent
}

// waiting lists the agents that wait in a workspace, each once, the longest first.
func waiting(w state.Workspace) []string {
	var agents []string
	for _, x := range w.Waits {
		if !slices.Contains(agents, x.Agent) {
			agents = append(agents, x.Agent)
		}
	}
	return agents
}

// waitingIn is what the icon's tooltip says of agents that wait, in any workspace: the one that has waited longest.
func waitingIn(s state.State, choices []Choice) string {
	var text string
	var first state.Wait
	for _, w := range s.Workspaces {
		for _, x := range w.Waits {
			if text == "" || x.Since.Before(first.Since) {
				first, text = x, "; "+AgentName(w, x.Agent, choices)+" is waiting in "+w.Name
			}
		}
	}
	return text
}
