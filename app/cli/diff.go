package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/vm"
)

// plainWidth is how many columns a text takes that no terminal shows.
const plainWidth = 120

func (c *cmd) snapshotDiff() *cobra.Command {
	var from string
	cc := &cobra.Command{
		Use: "diff [WORKSPACE]", Short: "Show what a rollback would undo", Args: cobra.MaximumNArgs(1),
		Long: `Show what a rollback to a snapshot, the newest one or the one named by --from, would undo: the files changed
since then and the largest of them, the commits made, and the agents at work. Nothing is changed by it. The guest is
asked, and what it answers is its own word; a workspace that does not run is not started for it.`,
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringVar(&from, "from", "", "the snapshot, by name or identifier")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		var p app.Preview
		err := c.quietly(func(report vm.Progress) (err error) {
			report.Report(vm.Phase{Name: "looking what changed"})
			p, err = c.app.Preview(cc.Context(), arg(args, 0), from)
			return err
		})
		if err != nil {
			return err
		}
		return c.print(p, func(w io.Writer) error {
			for _, line := range p.Lines(c.width()) {
				if _, err := fmt.Fprintln(w, printable(line)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cc
}

// width is how many columns the terminal has that output goes to.
func (c *cmd) width() int {
	if out, ok := c.streams.Out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(out.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return plainWidth
}
