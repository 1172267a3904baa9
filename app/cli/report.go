package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/vm"
)

// pause waits for Enter, for windows that would close at once.
func (c *cmd) pause() {
	if c.interactive() {
		_, _ = fmt.Fprint(c.streams.Err, "\nPress Enter to close. ")
		_, _ = bufio.NewReader(io.LimitReader(c.streams.In, 4096)).ReadString('\n')
	}
}

func (c *cmd) isolation() *cobra.Command {
	var pause bool
	cc := &cobra.Command{
		Use: "isolation [WORKSPACE]", Short: "Prove a running workspace's isolation, and show the evidence",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().BoolVar(&pause, "pause", false, "wait for Enter at the end")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		if pause {
			defer c.pause()
		}
		var r isolation.Report
		err := c.quietly(func(p vm.Progress) (err error) {
			p.Report(vm.Phase{Name: "checking isolation"})
			r, err = c.app.CheckIsolation(cc.Context(), arg(args, 0))
			return err
		})
		if err != nil {
			return err
		}
		if err := c.print(r, func(w io.Writer) error { return isolationText(w, r) }); err != nil {
			return err
		}
		if r.Level == isolation.Broken {
			return fmt.Errorf("%w: %s", app.ErrBroken, r.Reason)
		}
		return nil
	}
	return cc
}

func isolationText(w io.Writer, r isolation.Report) error {
	_, err := fmt.Fprintf(w, "Isolation of %s: %s (%d of %d claims proven, %s)\n", r.Workspace, r.Level, r.Passed(),
		len(r.Results), r.Time.Local().Format(time.DateTime))
	for _, x := range r.Results {
		_, werr := fmt.Fprintf(w, "\n%-8s %s (%s, %d ms)\n", strings.ToUpper(string(x.Outcome)), x.Claim, x.ID,
			x.Took.Milliseconds())
		err = errors.Join(err, werr)
		for _, text := range []string{x.Reason, x.Evidence} {
			for line := range splitLines(text) {
				_, werr := fmt.Fprintf(w, "         %s\n", printable(line))
				err = errors.Join(err, werr)
			}
		}
	}
	return err
}

func (c *cmd) doctor() *cobra.Command {
	var pause bool
	cc := &cobra.Command{Use: "doctor", Short: "Find what is missing on this machine, and say what to do", Args: cobra.NoArgs}
	cc.Flags().BoolVar(&pause, "pause", false, "wait for Enter at the end")
	cc.RunE = func(cc *cobra.Command, _ []string) error {
		if pause {
			defer c.pause()
		}
		found := c.app.Doctor(cc.Context())
		missing := 0
		for _, r := range found {
			if !r.OK && !r.Optional {
				missing++
			}
		}
		if err := c.print(found, func(w io.Writer) error { return doctorText(w, found) }); err != nil {
			return err
		}
		if missing > 0 {
			return fmt.Errorf("%d requirements are not met", missing)
		}
		return nil
	}
	return cc
}

func doctorText(w io.Writer, found []vm.Requirement) error {
	for _, r := range found {
		mark := "ok      "
		switch {
		case !r.OK && r.Optional:
			mark = "optional"
		case !r.OK:
			mark = "MISSING "
		}
		if _, err := fmt.Fprintf(w, "%s  %-22s %s\n", mark, r.Name, printable(r.Detail)); err != nil {
			return err
		}
		if !r.OK && r.Hint != "" {
			if _, err := fmt.Fprintf(w, "          %s\n", printable(r.Hint)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cmd) config() *cobra.Command {
	cc := &cobra.Command{Use: "config", Short: "Show and change the configuration"}
	var origin bool
	show := &cobra.Command{
		Use: "show [WORKSPACE]", Short: "Show the settings in force", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
	}
	show.Flags().BoolVar(&origin, "origin", false, "also show where each value comes from")
	show.RunE = func(_ *cobra.Command, args []string) error {
		entries := c.app.Config().Entries()
		if len(args) > 0 {
			w, err := c.app.Workspace(args[0])
			if err != nil {
				return err
			}
			entries = w.Entries()
		}
		return c.print(entries, func(w io.Writer) error {
			for _, e := range entries {
				line := fmt.Sprintf("%s: %s", e.Key, plainValue(e.Value))
				if origin {
					line += "  # " + e.Origin
				}
				if _, err := fmt.Fprintln(w, line); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var workspace string
	set := &cobra.Command{
		Use: "set KEY VALUE", Short: "Change one setting, keeping the file's comments", Args: cobra.ExactArgs(2),
	}
	set.Flags().StringVar(&workspace, "workspace", "", "change the workspace's vm.yaml instead of config.yaml")
	set.RunE = func(_ *cobra.Command, args []string) error {
		file := c.app.Home.ConfigFile()
		if workspace != "" {
			if _, err := c.app.Workspace(workspace); err != nil {
				return err
			}
			file = c.app.Home.VMFile(workspace)
		}
		return c.app.Config().Set(file, args[0], args[1])
	}
	template := &cobra.Command{
		Use: "template", Short: "Print a config.yaml with every setting, commented out", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := c.streams.Out.Write(config.Template())
			return err
		},
	}
	cc.AddCommand(show, set, template)
	return cc
}

// plainValue writes a setting's value as a person would write it into the file.
func plainValue(v any) string {
	if list, ok := v.([]string); ok {
		return "[" + strings.Join(list, ", ") + "]"
	}
	return fmt.Sprint(v)
}

func (c *cmd) logs() *cobra.Command {
	var follow bool
	cc := &cobra.Command{
		Use: "logs [WORKSPACE]", Short: "Show what happened: the journal, and the guest's console", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what happens until Ctrl-C")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		return c.app.ShowLog(cc.Context(), arg(args, 0), follow, c.json, c.streams.Out)
	}
	return cc
}

func (c *cmd) version() *cobra.Command {
	check := false
	cc := &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: func(cc *cobra.Command, _ []string) error {
			if check {
				return c.checkVersion(cc.Context())
			}
			v := map[string]string{"version": app.Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
			return c.print(v, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "CALMenu %s (%s, %s/%s)\n", v["version"], v["go"], v["os"], v["arch"])
				return err
			})
		},
	}
	cc.Flags().BoolVar(&check, "check", false, "ask the project whether there is a newer release; nothing is installed")
	return cc
}

// man writes the manual pages, made from the same definitions as the help texts.
func (c *cmd) man() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the manual pages into a directory", Args: cobra.ExactArgs(1),
		RunE: func(cc *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("writing the manual pages: %w", err)
			}
			root := cc.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "CALMENU", Section: "1", Source: "CALMenu " + app.Version(), Manual: "CALMenu"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("writing the manual pages: %w", err)
			}
			return c.say("Manual pages are in %s", filepath.Clean(args[0]))
		},
	}
}
