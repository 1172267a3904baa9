package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// pruned is what `snapshot prune --json` prints.
type pruned struct {
	Removed    []snapshot.Removal `json:"removed"`
	FreesBytes int64              `json:"frees_bytes"`
	DryRun     bool               `json:"dry_run"`
}

// selectionFlags are those of `snapshot prune` that take the place of the retention rules.
type selectionFlags struct {
	kinds     []string
	olderThan string
	keep      int
}

// selection returns what the flags select, or nil if none was given.
func (f selectionFlags) selection(cc *cobra.Command) (*snapshot.Selection, error) {
	if !slices.ContainsFunc([]string{"kind", "older-than", "keep"}, cc.Flags().Changed) {
		return nil, nil //nolint:nilnil // no selection is no error
	}
	wrong := func(format string, args ...any) error {
		return hint.Wrap(fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...), "See: "+cc.CommandPath()+" --help")
	}
	sel := &snapshot.Selection{Keep: f.keep}
	for _, k := range f.kinds {
		if !slices.Contains(snapshot.Kinds(), snapshot.Kind(k)) {
			return nil, wrong("there is no kind of snapshot %q", k)
		}
		sel.Kinds = append(sel.Kinds, snapshot.Kind(k))
	}
	if f.keep < 0 {
		return nil, wrong("--keep %d is less than none", f.keep)
	}
	if f.olderThan != "" {
		age, err := parseAge(f.olderThan)
		if err != nil {
			return nil, wrong("--older-than %q is no age such as 7d or 12h", f.olderThan)
		}
		sel.OlderThan = age
	}
	return sel, nil
}

// maxAge is more than any snapshot's, and far from what a duration can hold, in days.
const maxAge = 36500

// parseAge reads an age: days ("7d") or what else time.ParseDuration knows ("12h", "90m").
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n == 0 || n > maxAge {
			return 0, strconv.ErrRange
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = strconv.ErrRange
	}
	return d, err
}

func (c *cmd) snapshotPrune() *cobra.Command {
	var f selectionFlags
	var dry, yes bool
	cc := &cobra.Command{
		Use: "prune [WORKSPACE]", Short: "Delete the snapshots that are kept no longer", Args: cobra.MaximumNArgs(1),
		Long: `Delete the snapshots that are kept no longer by the settings (isolation.snapshots in config.yaml), which mostly
happens by itself, or those that the flags select instead: of these kinds, older than that, and not among the newest.

Snapshots taken by hand go only if --kind manual says so; those that somebody has renamed, and the newest of a session,
go only by ` + "`snapshot delete`" + `. What goes is listed, with why and what that frees, and asked about; --yes does not ask.`,
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringSliceVar(&f.kinds, "kind", nil, "only these kinds: manual, session, periodic, undo")
	cc.Flags().StringVar(&f.olderThan, "older-than", "", "only those older than this, such as 7d or 12h")
	cc.Flags().IntVar(&f.keep, "keep", 0, "leave the newest of each kind, this many")
	cc.Flags().BoolVar(&dry, "dry-run", false, "only list what would go")
	cc.Flags().BoolVar(&yes, "yes", false, "do not ask")
	var kinds []string
	for _, k := range snapshot.Kinds() {
		kinds = append(kinds, string(k))
	}
	_ = cc.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds, cobra.ShellCompDirectiveNoFileComp))
	cc.RunE = func(cc *cobra.Command, args []string) error {
		sel, err := f.selection(cc)
		if err != nil {
			return err
		}
		w, err := c.app.Workspace(arg(args, 0))
		if err != nil {
			return err
		}
		plan, err := c.app.PrunePlan(cc.Context(), w.Name, sel)
		if err != nil {
			return err
		}
		if dry || len(plan) == 0 {
			return c.printPruned(pruned{Removed: plan, FreesBytes: snapshot.Frees(plan), DryRun: dry})
		}
		if !yes {
			if err := prunedTable(c.streams.Err, plan); err != nil {
				return err
			}
			question := fmt.Sprintf("Delete %s? [y/N] ", counted(len(plan)))
			if err := c.confirmed(question, fmt.Sprintf("pruning snapshots of %q", w.Name)); err != nil {
				return err
			}
		}
		var gone []snapshot.Removal
		err = c.quietly(func(p vm.Progress) (err error) {
			gone, err = c.app.PruneSnapshots(cc.Context(), w.Name, plan, p)
			return err
		})
		if err != nil {
			return err
		}
		return c.printPruned(pruned{Removed: gone, FreesBytes: snapshot.Frees(gone)})
	}
	return cc
}

// confirmed asks a question whose answer must be yes; nobody there is nobody agreeing.
func (c *cmd) confirmed(question, doing string) error {
	answer, err := c.ask(question)
	if err != nil {
		return err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return hint.Wrap(fmt.Errorf("%s: %w", doing, app.ErrDeclined), "Nothing was changed. --yes does not ask.")
	}
	return nil
}

func (c *cmd) printPruned(r pruned) error {
	if r.Removed == nil {
		r.Removed = []snapshot.Removal{}
	}
	return c.print(r, func(w io.Writer) error {
		if len(r.Removed) == 0 {
			_, err := fmt.Fprintln(w, "No snapshot goes.")
			return err
		}
		if err := prunedTable(w, r.Removed); err != nil {
			return err
		}
		does := "is freed"
		if r.DryRun {
			does = "would be freed"
		}
		_, err := fmt.Fprintf(w, "%s, %s %s.\n", counted(len(r.Removed)), size(r.FreesBytes), does)
		return err
	})
}

func prunedTable(w io.Writer, plan []snapshot.Removal) error {
	return table("NAME\tKIND\tAGE\tFREES\tBECAUSE", func(yield func(string) bool) {
		for _, r := range plan {
			s := r.Snapshot
			if !yield(strings.Join([]string{s.Name, string(s.Kind), age(s.Created), size(s.SizeBytes), r.Reason}, "\t")) {
				return
			}
		}
	})(w)
}

func counted(n int) string {
	if n == 1 {
		return "1 snapshot"
	}
	return fmt.Sprintf("%d snapshots", n)
}

func size(bytes int64) string { return humanize.Bytes(uint64(max(0, bytes))) }

func age(t time.Time) string { return humanize.RelTime(t, time.Now(), "ago", "") }
