package cli

import (
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/internal/hint"
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
	cc := &cobra.Command{Use: "snapshot", Short: "Take, list, name and delete snapshots"}
	cc.AddCommand(
		c.snapshotCreate(), c.snapshotList(), c.snapshotDelete(), c.snapshotRename(), c.snapshotNote(), c.snapshotPrune(),
		c.snapshotUsage(), c.snapshotDiff(),
	)
	return cc
}

func (c *cmd) snapshotCreate() *cobra.Command {
	var s snapshot.Snapshot
	var warm, cold bool
	cc := &cobra.Command{
		Use: "create [WORKSPACE]", Short: "Take a snapshot", Args: cobra.MaximumNArgs(1),
		Long: `Take a snapshot of a workspace: of its disk, and of its memory where it runs and that can be saved, so that a
rollback resumes what ran. --warm insists on the memory, --cold leaves it out; isolation.snapshots.mode in config.yaml says
what holds without either.`,
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringVar(&s.Name, "name", "", "a name for people; the time if left out")
	cc.Flags().StringVar(&s.Note, "note", "", "a note, shown in the list")
	cc.Flags().BoolVar(&warm, "warm", false, "with the memory of the running workspace, or not at all")
	cc.Flags().BoolVar(&cold, "cold", false, "of the disk alone")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		switch {
		case warm && cold:
			return hint.Wrap(fmt.Errorf("%w: --warm and --cold exclude each other", errUsage), "See: CALMenu snapshot create --help")
		case warm:
			s.Mode = snapshot.ModeWarm
		case cold:
			s.Mode = snapshot.ModeCold
		}
		if s.Name != "" {
			if err := snapshot.ValidName(s.Name); err != nil {
				return err
			}
		}
		if err := snapshot.ValidNote(s.Note); err != nil {
			return err
		}
		var taken snapshot.Snapshot
		err := c.quietly(func(p vm.Progress) (err error) {
			taken, err = c.app.TakeSnapshot(cc.Context(), arg(args, 0), s, p)
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
		Long: `List the snapshots, newest first, each with what it holds and what deleting it frees. Where snapshots share blocks, to
delete one of them frees nothing until the other is gone as well.`,
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			list, err := c.app.Snapshots(cc.Context(), arg(args, 0))
			if err != nil {
				return err
			}
			return c.print(list, func(w io.Writer) error {
				if err := snapshotTable(list)(w); err != nil {
					return err
				}
				return c.listFoot(w, list)
			})
		},
	}
}

func snapshotTable(list []snapshot.Snapshot) func(io.Writer) error {
	return table("NAME\tKIND\tAGE\tHOLDS\tFREES\tID", func(yield func(string) bool) {
		for _, s := range list {
			holds := "disk"
			if s.Warm {
				holds = "disk and memory"
			}
			row := []string{s.Name, string(s.Kind), age(s.Created), holds, size(s.SizeBytes), s.ID}
			if !yield(strings.Join(row, "\t")) {
				return
			}
		}
	})
}

// listFoot prints what the columns have no room for: notes, the sum, and the room there is.
func (c *cmd) listFoot(w io.Writer, list []snapshot.Snapshot) error {
	var total int64
	for _, s := range list {
		total += s.SizeBytes
		if s.Note == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", printable(s.Name), printable(s.Note)); err != nil {
			return err
		}
	}
	free, err := c.app.HostFree()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s, %s; %s are free on the host's disk.\n", counted(len(list)), size(total), size(free))
	if warning := c.app.DiskWarning(); err == nil && warning != "" {
		_, err = fmt.Fprintf(w, "Warning: %s.\n", warning)
	}
	return err
}

func (c *cmd) snapshotDelete() *cobra.Command {
	var yes bool
	cc := &cobra.Command{
		Use: "delete WORKSPACE SNAPSHOT", Short: "Delete a snapshot, by name or identifier", Args: cobra.ExactArgs(2),
		Long: `Delete a snapshot, by name or identifier, and say what that frees. It asks first on a terminal; --yes does not.`,
	}
	cc.ValidArgsFunction = c.snapshotNames
	cc.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		if err := namesSnapshot(args[1]); err != nil {
			return err
		}
		s, err := c.app.FindSnapshot(cc.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		if c.interactive() && !yes {
			question := fmt.Sprintf("Delete the %s snapshot %q, taken %s, for %s? [y/N] ", s.Kind, printable(s.Name),
				age(s.Created), size(s.SizeBytes))
			if err := c.confirmed(question, fmt.Sprintf("deleting snapshot %q", s.Name)); err != nil {
				return err
			}
		}
		err = c.quietly(func(p vm.Progress) error {
			return c.app.DeleteSnapshot(cc.Context(), args[0], s.ID, p)
		})
		if err != nil {
			return err
		}
		return c.print(pruned{
			Removed: []snapshot.Removal{{Snapshot: s, Reason: "asked for"}}, FreesBytes: s.SizeBytes,
		}, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Snapshot %q is gone.\nIt held %s.\n", s.Name, size(s.SizeBytes))
			return err
		})
	}
	return cc
}
