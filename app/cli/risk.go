package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

func (c *cmd) risk() *cobra.Command {
	var repo string
	var rescue, bundle bool
	cc := &cobra.Command{
		Use: "risk [WORKSPACE]", Short: "Show the work that would be lost with the guest, and save it",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.workspaceNames,
		Long: `Show the work in the guest that is nowhere else: uncommitted files, stashes, commits on no remote, ignored files that
look precious, files in ~/workspace in no repository. What could not be found out counts as work at risk. Of a workspace
that does not run, what was found at its last shutdown is shown; if it has run since, more may be at risk.

--rescue pushes it to a branch agent/rescue-TIME of each repository's remote, but for files that look like secrets, and
asks the remote whether it has it; --bundle puts a git bundle of each repository into the outbox, from where it lands on
this machine, and is checked there. Neither touches branches or files in the guest. Files in no repository are not saved
by either.`,
	}
	cc.Flags().BoolVar(&rescue, "rescue", false, "push what is at risk to a rescue branch")
	cc.Flags().BoolVar(&bundle, "bundle", false, "write what is at risk to git bundles in the outbox")
	cc.Flags().StringVar(&repo, "repo", "", "save this repository alone, by its path in the home or below ~/workspace")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		switch {
		case rescue && bundle:
			return hint.Wrap(fmt.Errorf("%w: --rescue and --bundle exclude each other", errUsage), "See: CALMenu risk --help")
		case repo != "" && !rescue && !bundle:
			return hint.Wrap(fmt.Errorf("%w: --repo goes with --rescue or --bundle", errUsage), "See: CALMenu risk --help")
		case rescue || bundle:
			return c.saveWork(cc, arg(args, 0), repo, bundle)
		}
		var r app.RiskReport
		err := c.quietly(func(p vm.Progress) (err error) {
			p.Report(vm.Phase{Name: "looking for work at risk"})
			r, err = c.app.Risk(cc.Context(), arg(args, 0))
			return err
		})
		if err != nil {
			return err
		}
		return c.print(r, func(out io.Writer) error {
			if !r.AtRisk {
				_, err := fmt.Fprintf(out, "Nothing in %s would be lost.\n", r.Workspace)
				return err
			}
			for _, line := range r.Lines {
				if _, err := fmt.Fprintln(out, printable(line)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cc
}

func (c *cmd) saveWork(cc *cobra.Command, name, repo string, bundle bool) error {
	var all []app.Saved
	err := c.quietly(func(p vm.Progress) (err error) {
		all, err = c.app.Save(cc.Context(), name, repo, bundle, p)
		return err
	})
	if err != nil && len(all) == 0 {
		return err
	}
	if perr := c.print(all, func(w io.Writer) error { return savedText(w, all) }); err == nil {
		err = perr
	}
	return err
}

func savedText(w io.Writer, all []app.Saved) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No repository has work at risk.")
		return err
	}
	for _, s := range all {
		var text string
		switch {
		case s.Error != "":
			text = "not saved: " + s.Error
		case s.Bundle != "":
			text = "bundled to " + s.Path
		default:
			text = "pushed to " + s.Branch + " on " + s.Remote
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", printable(s.Repo), printable(text)); err != nil {
			return err
		}
		if s.LeftOut.Count > 0 {
			if _, err := fmt.Fprintf(w, "  left out: %d, such as %s\n", s.LeftOut.Count, printable(s.LeftOut.Names[0])); err != nil {
				return err
			}
		}
	}
	return nil
}
