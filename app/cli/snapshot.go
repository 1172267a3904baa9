package cli

import (
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// table prints a header and rows, columns apart by tabs.
func table(header string, rows iter.Seq[string]) func(io.Writer) error {
	return func(w io.Writer) error {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(tw, header)
		for r := range rows {
			_, _ = fmt.Fprintln(tw, printable(r))
		}
		return tw.Flush()
	}
}

func (c *cmd) snapshot() *cobra.Command {
	cc := &cobra.Command{Use: "snapshot", Short: "Take, list and delete snapshots"}
	cc.AddCommand(c.snapshotCreate(), c.snapshotList(), c.snapshotDelete())
	return cc
}

func (c *cmd) snapshotCreate() *cobra.Command {
	var name string
	cc := &cobra.Command{
		Use: "create [WORKSPACE]", Short: "Take a snapshot", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringVar(&name, "name", "", "a name for people; the time if left out")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		var taken snapshot.Snapshot
		err := c.quietly(func(p vm.Progress) (err error) {
			taken, err = c.app.TakeSnapshot(cc.Context(), arg(args, 0), snapshot.Snapshot{Name: name}, p)
			return err
		})
		if err != nil {
			return err
		}
		return c.print(taken, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Snapshot %q taken (%s).\n", taken.Name, taken.ID)
			return err
		})
	}
	return cc
}

func (c *cmd) snapshotList() *cobra.Command {
	return &cobra.Command{
		Use: "list [WORKSPACE]", Short: "List the snapshots, newest first", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			list, err := c.app.Snapshots(cc.Context(), arg(args, 0))
			if err != nil {
				return err
			}
			return c.print(list, table("NAME\tKIND\tAGE\tFREES\tID", func(yield func(string) bool) {
				for _, s := range list {
					row := []string{
						s.Name, string(s.Kind), humanize.RelTime(s.Created, time.Now(), "ago", ""),
						humanize.Bytes(uint64(max(0, s.SizeBytes))), s.ID,
					}
					if !yield(strings.Join(row, "\t")) {
						return
					}
				}
			}))
		},
	}
}

func (c *cmd) snapshotDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete WORKSPACE SNAPSHOT", Short: "Delete a snapshot, by name or identifier", Args: cobra.ExactArgs(2),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			err := c.quietly(func(p vm.Progress) error {
				return c.app.DeleteSnapshot(cc.Context(), args[0], args[1], p)
			})
			if err != nil {
				return err
			}
			return c.say("Snapshot %q is gone.", args[1])
		},
	}
}

func (c *cmd) sync() *cobra.Command {
	return &cobra.Command{
		Use: "sync [WORKSPACE]", Short: "Bring in what the guest has put into ~/output", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			r, err := c.syncNow(cc, arg(args, 0))
			if err != nil {
				return err
			}
			return c.print(r, func(w io.Writer) error {
				for _, x := range r.Landed {
					if _, err := fmt.Fprintf(w, "landed   %s (%s)\n", printable(x.Path), humanize.Bytes(uint64(x.Size))); err != nil {
						return err
					}
				}
				for _, x := range r.Refused {
					if _, err := fmt.Fprintf(w, "refused  %s: %s\n", printable(x.Name), printable(x.Reason)); err != nil {
						return err
					}
				}
				_, err := fmt.Fprintf(w, "%d landed, %d refused, %d unchanged (%s in %.1f s)\n", len(r.Landed), len(r.Refused),
					r.Unchanged, humanize.Bytes(uint64(r.Bytes)), r.Duration.Seconds())
				return err
			})
		},
	}
}
