package bar

import (
	"context"
	"fmt"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
)

// network carries out what is chosen in the menu's part about the network, or answered in a notification.
func (b *Agent) network(ctx context.Context, a menu.Action) error {
	switch a.Verb {
	case menu.NetMode:
		return b.app.SetNetworkMode(a.Workspace, a.Arg)
	case menu.NetPolicy:
		return b.app.SetNetworkPolicy(a.Workspace, a.Arg)
	case menu.NetAllow:
		if err := b.app.AnswerNetwork(ctx, a.Workspace, a.Arg, app.NetAlways); err != nil {
			return err
		}
		b.notify(desktop.Notification{
			Title: "Allowed", Body: fmt.Sprintf("%s may reach %s from now on. CALMenu net deny %s takes that back.",
				a.Workspace, a.Arg, a.Arg),
		})
		return nil
	case menu.NetOnce:
		return b.app.AnswerNetwork(ctx, a.Workspace, a.Arg, app.NetOnce)
	case menu.NetDeny:
		return b.app.AnswerNetwork(ctx, a.Workspace, a.Arg, app.NetDeny)
	case menu.NetLog:
		return b.terminal(ctx, "Connections of "+a.Workspace, "net", "log", a.Workspace, "--follow", "--pause")
	}
	return fmt.Errorf("the menu asked for %q, which is nothing CALMenu does", a.Verb)
}

// isNetwork tells whether an action is the network's.
func isNetwork(verb string) bool {
	switch verb {
	case menu.NetMode, menu.NetPolicy, menu.NetAllow, menu.NetOnce, menu.NetDeny, menu.NetLog:
		return true
	}
	return false
}

// announceAsks has a person asked about destinations that have come to be asked about since the last look, for as long as a
// connection waits for the answer and nobody has given it.
func (b *Agent) announceAsks(ctx context.Context, s state.State) {
	waiting := map[string]context.CancelFunc{}
	for _, w := range s.Workspaces {
		for _, a := range w.NetAsks {
			end := b.asked[a.ID]
			if end == nil {
				n := b.askNotification(w.Name, a.Destination)
				n.Until, end = context.WithDeadline(ctx, a.Since.Add(app.NetAskTime))
				b.tasks.start(func() { b.notify(n) })
			}
			waiting[a.ID] = end
		}
	}
	for id, end := range b.asked {
		if waiting[id] == nil {
			end()
		}
	}
	b.asked = waiting
}

// askNotification asks about one destination. Its name is the guest's choice: what it holds was read as a name of the DNS
// or an address, nothing else.
func (b *Agent) askNotification(workspace, destination string) desktop.Notification {
	do := func(verb string) func() {
		return func() { b.Do(menu.Action{Verb: verb, Workspace: workspace, Arg: destination}) }
	}
	return desktop.Notification{
		Title: "Allow a connection?",
		Body:  fmt.Sprintf("%s wants to reach %s. It waits a minute for your answer.", workspace, said(destination)),
		Actions: []desktop.Action{
			{Label: desktop.AllowOnce, Run: do(menu.NetOnce)},
			{Label: desktop.AlwaysAllow, Run: do(menu.NetAllow)},
			{Label: desktop.Deny, Run: do(menu.NetDeny)},
		},
	}
}
