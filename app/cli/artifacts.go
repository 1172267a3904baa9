package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
)

func (c *cmd) sync() *cobra.Command {
	return &cobra.Command{
		Use: "sync [WORKSPACE]", Short: "Bring in what the guest has put into ~/output", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			var r outbox.Report
			var failed []app.HookFailure
			err := c.quietly(func(p vm.Progress) (err error) {
				r, failed, err = c.app.Sync(cc.Context(), arg(args, 0), p)
				return err
			})
			if err != nil && (c.json || len(r.Landed) == 0) {
				return err
			}
			// What has landed by then is told of also if the disk is full now.
			if perr := c.print(r, func(w io.Writer) error { return syncText(w, r) }); perr != nil {
				return errors.Join(err, perr)
			}
			for _, f := range failed {
				_, _ = fmt.Fprintf(c.streams.Err, "hook failed: %s\n  %s\n", printable(f.Error()), printable(hint.Of(f.Err)))
			}
			return err
		},
	}
}

func syncText(w io.Writer, r outbox.Report) error {
	var b strings.Builder
	for _, x := range r.Landed {
		fmt.Fprintf(&b, "landed   %s (%s)\n", printable(x.Path), size(x.Size))
		for _, warning := range x.Warnings {
			fmt.Fprintf(&b, "warning  %s %s\n", printable(x.Name), printable(warning))
		}
	}
	for _, x := range r.Refused {
		fmt.Fprintf(&b, "refused  %s: %s\n", printable(x.Name), printable(x.Reason))
	}
	fmt.Fprintf(&b, "%d landed, %d refused, %d unchanged", len(r.Landed), len(r.Refused), r.Unchanged)
	if r.Waiting > 0 {
		fmt.Fprintf(&b, ", %d still being written", r.Waiting)
	}
	fmt.Fprintf(&b, " (%s in %.1f s)\n", size(r.Bytes), r.Duration.Seconds())
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *cmd) artifacts() *cobra.Command {
	cc := c.artifactsList("artifacts [WORKSPACE]", "List what has landed, newest first; reveal, open, verify, prune it")
	list := c.artifactsList("list [WORKSPACE]", "List what has landed, newest first")
	cc.AddCommand(list, c.artifactsReveal(), c.artifactsOpen(), c.artifactsVerify(), c.artifactsPrune())
	return cc
}

func (c *cmd) artifactsList(use, short string) *cobra.Command {
	var refused bool
	cc := &cobra.Command{Use: use, Short: short, Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.workspaceNames}
	cc.Flags().BoolVar(&refused, "refused", false, "list what did not land, and why, instead")
	cc.RunE = func(_ *cobra.Command, args []string) error {
		if refused {
			return c.refused(arg(args, 0))
		}
		all, err := c.app.Artifacts(arg(args, 0))
		if err != nil {
			return err
		}
		if all == nil {
			all = []outbox.Artifact{}
		}
		return c.print(all, table("LANDED\tSIZE\tVERSION\tSHA-256\tPATH", func(yield func(string) bool) {
			for _, x := range all {
				row := fmt.Sprintf("%s\t%s\t%d\t%.12s\t%s", x.LandedAt.Local().Format(time.DateTime), size(x.Size), x.Version,
					x.SHA256, x.Path)
				if _, err := os.Lstat(x.Path); errors.Is(err, fs.ErrNotExist) {
					row += "  (not there any more)"
				}
				if len(x.Warnings) > 0 {
					row += "  (" + strings.Join(x.Warnings, "; ") + ")"
				}
				if !yield(row) {
					return
				}
			}
		}))
	}
	return cc
}

func (c *cmd) refused(workspace string) error {
	all, err := c.app.RefusedArtifacts(workspace)
	if err != nil {
		return err
	}
	if all == nil {
		all = []outbox.Refused{}
	}
	return c.print(all, table("REFUSED\tNAME\tREASON", func(yield func(string) bool) {
		for _, x := range all {
			if !yield(fmt.Sprintf("%s\t%s\t%s", x.Time.Local().Format(time.DateTime), x.Name, x.Reason)) {
				return
			}
		}
	}))
}

// workspaceAndName takes the arguments of a command about one artifact: its name, after the workspace's if that is given.
func workspaceAndName(args []string) (workspace, name string) {
	if len(args) == 1 {
		return "", args[0]
	}
	return args[0], args[1]
}

// artifactNames completes the arguments of a command about one artifact.
func (c *cmd) artifactNames(cc *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	names, directive := c.workspaceNames(cc, nil, begun)
	workspace := arg(args, 0)
	if len(args) > 0 {
		names = nil
	}
	if c.app != nil && len(args) < 2 {
		all, _ := c.app.Artifacts(workspace)
		seen := map[string]bool{}
		for _, x := range all {
			if !seen[x.Name] {
				seen[x.Name] = true
				names = append(names, x.Name)
			}
		}
	}
	return names, directive
}

func (c *cmd) artifactsReveal() *cobra.Command {
	return &cobra.Command{
		Use: "reveal [WORKSPACE] NAME", Short: "Show an artifact in the file manager", Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.artifactNames,
		RunE: func(cc *cobra.Command, args []string) error {
			x, err := c.app.Artifact(workspaceAndName(args))
			if err != nil {
				return err
			}
			desk, why := c.desktop()
			if desk == nil {
				return hint.Errorf("It is "+x.Path, "revealing %s: there is no desktop: %s", x.Name, why)
			}
			defer func() { _ = desk.Close() }()
			return desk.Reveal(cc.Context(), x.Path)
		},
	}
}

func (c *cmd) artifactsOpen() *cobra.Command {
	var yes bool
	cc := &cobra.Command{
		Use: "open [WORKSPACE] NAME", Short: "Open an artifact in the program for it", Args: cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.artifactNames,
		Long: `Open an artifact in the program you have chosen for its kind.

What would run when it is opened (scripts, installers, unsigned applications, archives that hold such things), and what is
no longer as it landed, is not opened unless --yes says so. That nothing is found is no proof that there is nothing.`,
	}
	cc.Flags().BoolVar(&yes, "yes", false, "open it whatever is known against it")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		x, err := c.app.Artifact(workspaceAndName(args))
		if err != nil {
			return err
		}
		if !yes {
			if err := c.app.MayOpen(cc.Context(), x); err != nil {
				return err
			}
		}
		desk, why := c.desktop()
		if desk == nil {
			return hint.Errorf("It is "+x.Path, "opening %s: there is no desktop: %s", x.Name, why)
		}
		defer func() { _ = desk.Close() }()
		return desk.Open(cc.Context(), x.Path)
	}
	return cc
}

func (c *cmd) artifactsVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify [WORKSPACE]", Short: "Hash the artifacts again and compare with what landed", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		Long: `Hash a workspace's artifacts again and compare them with the manifest. What is missing, changed, or lies among them
without having landed is listed, and the exit code is 1.`,
		RunE: func(cc *cobra.Command, args []string) error {
			v, err := c.app.VerifyArtifacts(cc.Context(), arg(args, 0))
			if err != nil {
				return err
			}
			err = c.print(v, func(w io.Writer) error {
				for _, m := range v.Mismatches {
					if _, err := fmt.Fprintf(w, "%-8s %s %s\n", m.Kind, printable(m.Name), printable(m.Reason)); err != nil {
						return err
					}
				}
				if len(v.Mismatches) == 0 {
					_, err := fmt.Fprintf(w, "%d artifacts are as they landed\n", v.Checked)
					return err
				}
				return nil
			})
			if err == nil && len(v.Mismatches) > 0 {
				what := fmt.Sprintf("%d things are not as they", len(v.Mismatches)) // not all of them are artifacts
				if len(v.Mismatches) == 1 {
					what = "1 thing is not as it"
				}
				err = hint.Errorf("What changed them is not known to CALMenu; earlier versions are in .versions.",
					"%s landed", what)
			}
			return err
		},
	}
}

// prunedArtifacts is what `artifacts prune --json` prints.
type prunedArtifacts struct {
	Removed    []outbox.Pruned `json:"removed"`
	FreesBytes int64           `json:"frees_bytes"`
	DryRun     bool            `json:"dry_run"`
}

func (c *cmd) artifactsPrune() *cobra.Command {
	var keep int
	var olderThan string
	var dry bool
	cc := &cobra.Command{
		Use: "prune [WORKSPACE]", Short: "Drop earlier versions of artifacts", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		Long: `Drop earlier versions of a workspace's artifacts: those beyond --keep of each, and those older than --older-than.
Without either, all of them. What has a name now stays.`,
	}
	cc.Flags().IntVar(&keep, "keep", 0, "keep this many earlier versions of each artifact")
	cc.Flags().StringVar(&olderThan, "older-than", "", "drop those that landed longer ago, such as 7d or 12h")
	cc.Flags().BoolVar(&dry, "dry-run", false, "only list what would go")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		p := outbox.PruneOptions{Keep: keep, DryRun: dry}
		wrong := func(format string, args ...any) error {
			return hint.Wrap(fmt.Errorf("%w: "+format, append([]any{errUsage}, args...)...), "See: "+cc.CommandPath()+" --help")
		}
		if keep < 0 {
			return wrong("--keep %d is less than none", keep)
		}
		if olderThan != "" {
			age, err := parseAge(olderThan)
			if err != nil {
				return wrong("--older-than %q is no age such as 7d or 12h", olderThan)
			}
			p.OlderThan = age
			if !cc.Flags().Changed("keep") {
				p.Keep = -1
			}
		}
		gone, err := c.app.PruneArtifacts(cc.Context(), arg(args, 0), p)
		if err != nil {
			return err
		}
		return c.printPrunedArtifacts(gone, dry)
	}
	return cc
}

func (c *cmd) printPrunedArtifacts(gone []outbox.Pruned, dry bool) error {
	r := prunedArtifacts{Removed: gone, DryRun: dry}
	if gone == nil {
		r.Removed = []outbox.Pruned{}
	}
	for _, x := range gone {
		r.FreesBytes += x.Size
	}
	return c.print(r, func(w io.Writer) error {
		if len(gone) == 0 {
			_, err := fmt.Fprintln(w, "No earlier version goes.")
			return err
		}
		err := table("NAME\tVERSION\tLANDED\tFREES", func(yield func(string) bool) {
			for _, x := range gone {
				if !yield(fmt.Sprintf("%s\t%d\t%s\t%s", x.Name, x.Version, age(x.Time), size(x.Size))) {
					return
				}
			}
		})(w)
		if err != nil {
			return err
		}
		does := "freed"
		if dry {
			does = "would be freed"
		}
		versions := "versions"
		if len(gone) == 1 {
			versions = "version"
		}
		_, err = fmt.Fprintf(w, "%d earlier %s, %s %s.\n", len(gone), versions, size(r.FreesBytes), does)
		return err
	})
}
