package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/internal/vm"
)

// deleted is what `delete --json` prints.
type deleted struct {
	Workspace string `json:"workspace"`
	discarded
}

func (c *cmd) delete() *cobra.Command {
	d := discard{}
	cc := &cobra.Command{
		Use: "delete WORKSPACE", Short: "Delete a workspace with all its snapshots", Args: cobra.ExactArgs(1),
		Long: `Delete a workspace: its machine, all its snapshots and everything in them. What has landed in the output folder
stays. It asks first; --yes does not.

The work at risk is listed first, and can be pushed or bundled on a terminal. --yes alone deletes nothing while work is at
risk, or may be, unless --rescue has saved all of it; --discard-work accepts that it is lost.`,
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().BoolVar(&d.yes, "yes", false, "do not ask")
	cc.Flags().BoolVar(&d.accept, "discard-work", false, "delete it whatever is at risk")
	d.flags(cc)
	cc.RunE = func(cc *cobra.Command, args []string) error {
		w, err := c.app.Workspace(args[0])
		if err != nil {
			return err
		}
		d.doing = fmt.Sprintf("deleting workspace %q", w.Name)
		out := deleted{Workspace: w.Name}
		if out.discarded, err = c.beforeDiscard(cc, w, d); err != nil {
			return err
		}
		if !d.yes {
			q := fmt.Sprintf("Delete workspace %q with all its snapshots? Type its name to confirm: ", w.Name)
			if err := c.agree(d, q, w.Name); err != nil {
				return err
			}
		}
		if err := c.quietly(func(p vm.Progress) error { return c.app.Delete(cc.Context(), w.Name, p) }); err != nil {
			return err
		}
		return c.print(out, func(to io.Writer) error {
			_, err := fmt.Fprintf(to, "Workspace %q is gone.\n", w.Name)
			return err
		})
	}
	return cc
}
