package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// rolledBack is what `rollback --json` prints.
type rolledBack struct {
	app.Rolled
	discarded
}

func (c *cmd) rollback() *cobra.Command {
	var to string
	var undo bool
	d := discard{keeps: true}
	cc := &cobra.Command{
		Use: "rollback [WORKSPACE]", Short: "Make a workspace what it was at a snapshot", Args: cobra.MaximumNArgs(1),
		Long: `Make a workspace what it was at a snapshot: the newest one, or the one named by --to. What is replaced is kept, and
--undo brings it back. A workspace that runs is started again afterwards.

The work at risk is listed first, and can be pushed or bundled on a terminal. Elsewhere nothing is rolled back while work
is at risk, unless --yes says so, which neither looks nor asks, or --rescue has saved all of it.`,
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringVar(&to, "to", "", "the snapshot, by name or identifier")
	cc.Flags().BoolVar(&undo, "undo", false, "bring back what the last rollback replaced")
	cc.Flags().BoolVar(&d.yes, "yes", false, "do not ask, whatever is at risk: the undo keeps it")
	d.flags(cc)
	cc.RunE = func(cc *cobra.Command, args []string) error {
		if undo && to != "" {
			return hint.Wrap(fmt.Errorf("%w: --to and --undo exclude each other", errUsage), "See: CALMenu rollback --help")
		}
		w, err := c.app.Workspace(arg(args, 0))
		if err != nil {
			return err
		}
		d.doing = fmt.Sprintf("rolling back workspace %q", w.Name)
		if c.interactive() && !d.yes && !undo {
			if err := c.tellPreview(cc, w.Name, to); err != nil {
				return err
			}
		}
		out := rolledBack{}
		if out.discarded, err = c.beforeDiscard(cc, w, d); err != nil {
			return err
		}
		if !d.yes && !out.agreed && c.interactive() {
			err := c.agree(d, "What changed since then leaves the workspace, but is kept for --undo. Roll back? [y/N] ", "y", "yes")
			if err != nil {
				return err
			}
		}
		began := time.Now()
		err = c.quietly(func(p vm.Progress) (err error) {
			if undo {
				out.Rolled, err = c.app.UndoRollback(cc.Context(), w.Name, p)
			} else {
				out.Rolled, err = c.app.Rollback(cc.Context(), w.Name, to, p)
			}
			return err
		})
		if err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Rolled back to %q in %.1f s. What it replaced is kept: CALMenu rollback --undo\n",
				out.To.Name, time.Since(began).Seconds())
			return err
		})
	}
	return cc
}

// tellPreview says what the rollback that is about to be asked for would undo, or that this cannot be found out: a guest
// may be wrecked.
func (c *cmd) tellPreview(cc *cobra.Command, name, ref string) error {
	var p app.Preview
	err := c.quietly(func(report vm.Progress) (err error) {
		report.Report(vm.Phase{Name: "looking what changed"})
		p, err = c.app.Preview(cc.Context(), name, ref)
		return err
	})
	if err != nil {
		return err
	}
	for _, line := range p.Lines(c.width()) {
		if _, err := fmt.Fprintln(c.streams.Err, printable(line)); err != nil {
			return err
		}
	}
	return nil
}
