package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// agent lists the coding agents.
func (c *cmd) agent() *cobra.Command {
	cc := &cobra.Command{Use: "agent", Short: "The coding agents"}
	cc.AddCommand(&cobra.Command{
		Use: "list", Short: "List the agents a workspace can run", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				ID       string `json:"id"`
				Name     string `json:"name"`
				Homepage string `json:"homepage,omitempty"`
				Custom   bool   `json:"custom,omitempty"`
			}
			rows := make([]row, 0, len(c.app.Agents()))
			for _, a := range c.app.Agents() {
				rows = append(rows, row{a.ID, a.Name, a.Homepage, a.Custom})
			}
			return c.print(rows, table("AGENT\tNAME\tHOMEPAGE", func(yield func(string) bool) {
				for _, r := range rows {
					if !yield(fmt.Sprintf("%s\t%s\t%s", r.ID, r.Name, r.Homepage)) {
						return
					}
				}
			}))
		},
	})
	return cc
}
