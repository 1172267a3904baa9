package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// snapshotNames completes a workspace and then its snapshots, by name.
func (c *cmd) snapshotNames(cc *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return c.workspaceNames(cc, args, typed)
	case 1:
		return snapshotsOf(cc, args[0])
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// snapshotsOf completes a workspace's snapshots, each described by its kind and age; an empty name is the current
// workspace.
func snapshotsOf(cc *cobra.Command, workspace string) ([]string, cobra.ShellCompDirective) {
	a, err := app.Open(app.Options{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = a.Close() }()
	list, err := a.Snapshots(cc.Context(), workspace)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range list {
		names = append(names, fmt.Sprintf("%s\t%s, %s", s.Name, s.Kind, age(s.Created)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

func (c *cmd) snapshotRename() *cobra.Command {
	cc := &cobra.Command{
		Use: "rename WORKSPACE SNAPSHOT NAME", Short: "Give a snapshot another name", Args: cobra.ExactArgs(3),
		Long: `Give a snapshot another name. One that was taken by itself is kept from then on, until it is deleted.`,
	}
	cc.ValidArgsFunction = c.snapshotNames
	cc.RunE = func(cc *cobra.Command, args []string) error {
		return c.editSnapshot(args, func(p vm.Progress) (snapshot.Snapshot, string, error) {
			s, err := c.app.RenameSnapshot(cc.Context(), args[0], args[1], args[2], p)
			said := fmt.Sprintf("Snapshot %q is now %q", args[1], s.Name)
			if s.Kept {
				said += ", and is kept until it is deleted"
			}
			return s, said, err
		})
	}
	return cc
}

func (c *cmd) snapshotNote() *cobra.Command {
	cc := &cobra.Command{
		Use: "note WORKSPACE SNAPSHOT [TEXT...]", Short: "Put a note beside a snapshot, or take it away",
		Args: cobra.MinimumNArgs(2),
	}
	cc.ValidArgsFunction = c.snapshotNames
	cc.RunE = func(cc *cobra.Command, args []string) error {
		return c.editSnapshot(args, func(p vm.Progress) (snapshot.Snapshot, string, error) {
			s, err := c.app.NoteSnapshot(cc.Context(), args[0], args[1], strings.Join(args[2:], " "), p)
			said := fmt.Sprintf("Snapshot %q has this note: %s", s.Name, s.Note)
			if s.Note == "" {
				said = fmt.Sprintf("Snapshot %q has no note", s.Name)
			}
			return s, said, err
		})
	}
	return cc
}

// editSnapshot runs what changes the words about the snapshot args name, and prints what it is then.
func (c *cmd) editSnapshot(args []string, f func(vm.Progress) (snapshot.Snapshot, string, error)) error {
	if err := namesSnapshot(args[1]); err != nil {
		return err
	}
	var s snapshot.Snapshot
	var said string
	err := c.quietly(func(p vm.Progress) (err error) {
		s, said, err = f(p)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(s, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, printable(said)+".")
		return err
	})
}

// namesSnapshot refuses an empty reference, which elsewhere means the newest: nothing is changed or deleted by a variable
// of a script that happens to be empty.
func namesSnapshot(ref string) error {
	if ref == "" {
		return fmt.Errorf("%w: the snapshot's name is empty", errUsage)
	}
	return nil
}
