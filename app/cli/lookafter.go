package cli

import (
	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
)

// lookAfter is what CALMenu starts by itself, for a workspace that is left running.
func (c *cmd) lookAfter() *cobra.Command {
	return &cobra.Command{
		Use: app.LookAfterVerb + " WORKSPACE", Short: "Look after a workspace that runs, until it ends or an agent begins",
		Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cc *cobra.Command, args []string) error { return c.app.LookAfter(cc.Context(), args[0]) },
	}
}
