package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// discard is what a verb that discards the guest's state was asked for.
type discard struct {
	doing  string // for people: "deleting workspace \"demo\""
	keeps  bool   // what is discarded can be brought back
	yes    bool
	accept bool   // that work is lost
	rescue string // "push", "bundle"; empty: none
}

func (d *discard) flags(cc *cobra.Command) {
	cc.Flags().StringVar(&d.rescue, "rescue", "", `save the work at risk first: "push" or "bundle"`)
	ways := cobra.FixedCompletions([]string{"push", "bundle"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cc.RegisterFlagCompletionFunc("rescue", ways)
}

// discarded is what a person was told before, as JSON has it.
type discarded struct {
	Risk    *app.RiskReport `json:"risk,omitempty"`      // null: it was not looked
	Rescued []app.Saved     `json:"rescued,omitempty"`   // what was saved first
	Remains []string        `json:"remaining,omitempty"` // what could not be

	agreed bool // somebody at the terminal said to go on
}

// loses tells whether anything is at risk, or may be, that was not saved.
func (d *discarded) loses() bool {
	if d.Rescued == nil {
		return d.Risk.AtRisk
	}
	return len(d.Remains) > 0
}

// beforeDiscard finds out what is at risk, saves it where that is wanted, and returns an error if the guest's state must
// not be discarded.
func (c *cmd) beforeDiscard(cc *cobra.Command, w *config.Workspace, d discard) (out discarded, err error) {
	if d.rescue != "" && d.rescue != "push" && d.rescue != "bundle" {
		return out, hint.Wrap(fmt.Errorf("%w: --rescue %s is neither push nor bundle", errUsage, d.rescue),
			"See: "+cc.CommandPath()+" --help")
	}
	if d.rescue == "" && (d.accept || d.yes && d.keeps) {
		// Whatever it is, it was accepted: nobody waits for a look at it.
		last, err := c.app.LastRisk(cc.Context(), w.Name)
		out.Risk = &last
		return out, err
	}
	err = c.quietly(func(p vm.Progress) error {
		p.Report(vm.Phase{Name: "looking for work at risk"})
		r, err := c.app.AtRisk(cc.Context(), w.Name)
		out.Risk = &r
		return err
	})
	if err != nil {
		return out, err
	}
	if d.rescue != "" && out.Risk.AtRisk {
		if err := c.rescueFirst(cc, w, d, d.rescue == "bundle", &out); err != nil {
			return out, err
		}
	}
	if !out.loses() {
		return out, nil
	}
	c.tellRisk(&out, d)
	switch {
	case d.accept, d.yes && d.keeps:
		return out, nil
	case d.yes || !c.interactive():
		return out, hint.Wrap(fmt.Errorf("%s: %w", d.doing, app.ErrAtRisk), c.acceptHint(w, d, out))
	}
	return out, c.offer(cc, w, d, &out)
}

// acceptHint says what to do about work at risk where nobody can be asked.
func (c *cmd) acceptHint(w *config.Workspace, d discard, out discarded) string {
	goOn := "--yes goes on all the same"
	if !d.keeps {
		goOn = "--yes --discard-work goes on all the same"
	}
	if !out.Risk.Running {
		return "To look at it: CALMenu start " + w.Name + "; " + goOn + "."
	}
	if out.Rescued == nil && out.Risk.Live {
		goOn = "--rescue push or --rescue bundle saves it first; " + goOn
	}
	return "Nothing was changed. " + goOn + "."
}

// rescueFirst saves what is at risk. Its failure is a reason to discard nothing.
func (c *cmd) rescueFirst(cc *cobra.Command, w *config.Workspace, d discard, bundle bool, out *discarded) error {
	var all []app.Saved
	err := c.quietly(func(p vm.Progress) (err error) {
		all, out.Remains, err = c.app.SaveAll(cc.Context(), w.Name, bundle, p)
		return err
	})
	if len(all) > 0 {
		_ = savedText(c.streams.Err, all)
	}
	if err != nil {
		return fmt.Errorf("%s: saving the work at risk first: %w", d.doing, err)
	}
	out.Rescued = append(slices.Clip(out.Rescued), all...)
	if out.Rescued == nil {
		out.Rescued = []app.Saved{}
	}
	return nil
}

// tellRisk lists what is at risk.
func (c *cmd) tellRisk(out *discarded, d discard) {
	lines, title := out.Risk.Text(app.RiskLines), "This work exists in the VM alone:"
	if out.Rescued != nil {
		lines, title = github.Capped(out.Remains, app.RiskLines), "This could not be saved:"
	} else if !out.Risk.Live && len(lines) == 1 {
		title = "There may be work that exists in the VM alone."
	}
	_, _ = fmt.Fprintln(c.streams.Err, title)
	for _, l := range lines {
		_, _ = fmt.Fprintln(c.streams.Err, "  "+printable(l))
	}
	if d.keeps {
		_, _ = fmt.Fprintln(c.streams.Err, "What the VM holds now is kept as the undo.")
	}
}

// offer asks what is to become of the work at risk until it is saved, or given up, or the verb is.
func (c *cmd) offer(cc *cobra.Command, w *config.Workspace, d discard, out *discarded) error {
	push, bundle := out.Risk.CanPush(), out.Risk.CanBundle()
	for {
		var offers []string
		if push {
			offers = append(offers, "[P]ush to "+w.GitHub.BranchPrefix+"rescue-TIME")
		}
		if bundle {
			offers = append(offers, "[B]undle to "+c.app.OutputDir(w))
		}
		offers = append(offers, "[G]o on", "[S]top")
		answer, err := c.ask(strings.Join(offers, "  ") + ": ")
		if err != nil {
			return err
		}
		switch answer = strings.ToLower(answer); {
		case answer == "g":
			out.agreed = true
			return nil
		case answer == "s", answer == "":
			return c.declined(d)
		case answer == "p" && push, answer == "b" && bundle:
			if err := c.rescueFirst(cc, w, d, answer == "b", out); err != nil {
				return err
			}
			if !out.loses() {
				out.agreed = d.keeps
				return nil
			}
			c.tellRisk(out, d)
			push = push && answer != "p"
			bundle = bundle && answer != "b"
		}
	}
}

// agree asks a question, and returns an error unless one of these is the answer.
func (c *cmd) agree(d discard, question string, answers ...string) error {
	answer, err := c.ask(question)
	if err != nil {
		return err
	}
	if d.keeps {
		answer = strings.ToLower(answer)
	}
	if !slices.Contains(answers, answer) {
		return c.declined(d)
	}
	return nil
}

func (c *cmd) declined(d discard) error {
	return hint.Wrap(fmt.Errorf("%s: %w", d.doing, app.ErrDeclined), "Nothing was changed.")
}
