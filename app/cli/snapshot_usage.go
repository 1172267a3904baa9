package cli

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
)

func (c *cmd) snapshotUsage() *cobra.Command {
	return &cobra.Command{
		Use: "usage", Short: "Show what workspaces and snapshots hold of the host's disk", Args: cobra.NoArgs,
		RunE: func(cc *cobra.Command, _ []string) error {
			u, err := c.app.DiskUse(cc.Context())
			if err != nil {
				return err
			}
			return c.print(u, func(w io.Writer) error { return usageText(w, u) })
		},
	}
}

func usageText(w io.Writer, u app.DiskUse) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "WORKSPACE\tHOLDS\tSNAPSHOTS\tDELETING THEM FREES")
	for _, x := range u.Workspaces {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%s\n", x.Name, size(x.Bytes), len(x.Snapshots), size(x.SnapshotBytes))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s in all; %s of %s are free on the host's disk.\n", size(u.TotalBytes), size(u.FreeBytes),
		size(u.SizeBytes))
	if err == nil && u.Warning != "" {
		_, err = fmt.Fprintf(w, "Warning: %s.\n", u.Warning)
	}
	return err
}
