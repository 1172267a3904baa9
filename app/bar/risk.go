package bar

import (
	"context"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/vm"
)

// risks is what the menu finds out and does about work at risk; *app.App is one.
type risks interface {
	AtRisk(ctx context.Context, name string) (app.RiskReport, error)
	SaveAll(ctx context.Context, name string, bundle bool, p vm.Progress) ([]app.Saved, []string, error)
}

// riskLines is how many lines of work at risk a dialog has room for.
const riskLines = 6

// The offers beside going on.
const (
	pushFirst   = "Push First"
	bundleFirst = "Bundle First"
)

// discard is a question about something that discards the guest's state.
type discard struct {
	title, text string
	button      string // goes on
	keeps       bool   // what is discarded can be brought back
}

// askDiscard asks whether the guest's state may be discarded, listing the work at risk and offering to save it first. It
// returns once that is agreed to, and what was to be saved is. A rescue that fails ends it.
func (b *Agent) askDiscard(ctx context.Context, name string, d discard) error {
	r, err := b.risks.AtRisk(ctx, name)
	if err != nil {
		return err
	}
	text := d.text
	if r.AtRisk {
		text += "\n\nThis work exists in the VM alone:\n" + strings.Join(r.Text(riskLines), "\n")
	}
	push, bundle := r.AtRisk && r.CanPush(), r.AtRisk && r.CanBundle()
	if bundle {
		text += "\n\n" + pushFirst + " saves it to a rescue branch of each remote, " + bundleFirst + " to the output folder."
	}
	for {
		buttons := d.buttons(push, bundle)
		ans, err := b.ask(ctx, desktop.Question{Kind: desktop.Confirm, Title: d.title, Text: text, Buttons: buttons})
		if err != nil {
			return err
		}
		chosen := buttons[ans.Button]
		if chosen == d.button {
			return nil
		}
		all, remains, err := b.risks.SaveAll(ctx, name, chosen == bundleFirst, nil)
		if err != nil {
			return fmt.Errorf("saving the work at risk first: %w", err)
		}
		b.rescued(name, all)
		if len(remains) == 0 {
			return nil
		}
		text = d.text + "\n\nThis could not be saved:\n" + strings.Join(github.Capped(remains, riskLines), "\n")
		push, bundle = push && chosen != pushFirst, bundle && chosen != bundleFirst
	}
}

// buttons are the offers; the first is what Return does: to go on where that loses nothing for good, to save it otherwise.
func (d discard) buttons(push, bundle bool) []string {
	var saves []string
	if bundle {
		saves = append(saves, bundleFirst)
	}
	if push {
		saves = append(saves, pushFirst)
	}
	if d.keeps {
		return append([]string{d.button}, saves...)
	}
	return append(saves, d.button)
}

// rescued tells what was saved; clicking reveals a bundle.
func (b *Agent) rescued(name string, all []app.Saved) {
	if len(all) == 0 {
		return
	}
	first := all[0]
	n := desktop.Notification{
		Title: "Work saved from " + name, Body: fmt.Sprintf("%s: %s on %s", first.Repo, first.Branch, first.Remote),
	}
	if first.Path != "" {
		reveal := func() { b.Do(menu.Action{Verb: menu.Reveal, Workspace: name, Arg: first.Path}) }
		n.Body, n.OnClick = first.Path, reveal
		n.Actions = []desktop.Action{{Label: desktop.Reveal, Run: reveal}}
	}
	if more := len(all) - 1; more > 0 {
		n.Body += " and " + english.Plural(more, "more repository", "more repositories")
	}
	b.notify(n)
}

func (b *Agent) delete(ctx context.Context, name string) error {
	err := b.askDiscard(ctx, name, discard{
		title: "Delete " + name + "?", button: "Delete",
		text: "Its disk and all its snapshots are removed. What has landed in the output folder stays.",
	})
	if err != nil {
		return err
	}
	return b.app.Delete(ctx, name, nil)
}
