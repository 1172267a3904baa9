package cli

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/session"
	"github.com/calmenu/calmenu/internal/vm"
)

func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// workspaceNames completes a first argument with the workspaces there are.
func (c *cmd) workspaceNames(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a, err := app.Open(app.Options{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer func() { _ = a.Close() }()
	names, err := a.Config().Workspaces()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (c *cmd) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the workspaces", Args: cobra.NoArgs,
		RunE: func(cc *cobra.Command, _ []string) error {
			s, err := c.app.State(cc.Context())
			if err != nil {
				return err
			}
			return c.print(s, func(w io.Writer) error { return listText(w, s) })
		},
	}
}

func listText(w io.Writer, s state.State) error {
	if len(s.Workspaces) == 0 {
		_, err := fmt.Fprintln(w, "No workspace yet. Make one: CALMenu new demo")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "WORKSPACE\tSTATE\tISOLATION\tAGENT\tSNAPSHOTS\tDISK")
	for _, x := range s.Workspaces {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%s\n", x.Name, x.Life, x.Isolation.Level, x.AgentName,
			len(x.Snapshots), humanize.Bytes(uint64(max(0, x.DiskBytes))))
	}
	return tw.Flush()
}

func (c *cmd) status() *cobra.Command {
	return &cobra.Command{
		Use: "status [WORKSPACE]", Short: "Show what a workspace is doing", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			s, err := c.app.State(cc.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return c.print(s, func(w io.Writer) error { return statusText(w, s, s.Workspaces) })
			}
			if _, err := c.app.Workspace(args[0]); err != nil {
				return err
			}
			x, _ := s.Find(args[0])
			return c.print(x, func(w io.Writer) error { return statusText(w, s, []state.Workspace{x}) })
		},
	}
}

func statusText(w io.Writer, s state.State, list []state.Workspace) error {
	if len(list) == 0 {
		return listText(w, s)
	}
	for _, x := range list {
		_, _ = fmt.Fprintf(w, "%s: %s\n", x.Name, session.Printable(x.Why()))
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintf(tw, "  state\t%s\n", x.Life)
		if !x.Since.IsZero() {
			_, _ = fmt.Fprintf(tw, "  since\t%s (process %d)\n", humanize.RelTime(x.Since, s.Time, "ago", ""), x.PID)
		}
		_, _ = fmt.Fprintf(tw, "  isolation\t%s %s\n", x.Isolation.Level, session.Printable(x.Isolation.Reason))
		_, _ = fmt.Fprintf(tw, "  agent\t%s, %d sessions\n", x.AgentName, len(x.Sessions))
		_, _ = fmt.Fprintf(tw, "  resources\t%d CPU, %d MiB, %s on disk\n", x.CPU, x.MemoryMiB,
			humanize.Bytes(uint64(max(0, x.DiskBytes))))
		if len(x.Snapshots) > 0 {
			n := x.Snapshots[0]
			_, _ = fmt.Fprintf(tw, "  snapshots\t%d, newest %q %s\n", len(x.Snapshots), n.Name,
				humanize.RelTime(n.Created, s.Time, "ago", ""))
		}
		if len(x.Artifacts) > 0 {
			_, _ = fmt.Fprintf(tw, "  artifacts\tnewest %s\n", session.Printable(x.Artifacts[0].Path))
		}
		if x.LastError != nil {
			_, _ = fmt.Fprintf(tw, "  last error\t%s: %s\n", x.LastError.Verb, session.Printable(x.LastError.Text))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cmd) newWorkspace() *cobra.Command {
	var agentID string
	cc := &cobra.Command{
		Use: "new NAME", Short: "Make a workspace",
		Args: cobra.MatchAll(cobra.ExactArgs(1), func(_ *cobra.Command, args []string) error { return vm.ValidName(args[0]) }),
		Long: `Make a workspace: a virtual machine from the base image, with a key pair of its own. The base image is built or
downloaded first if it is missing.`,
	}
	cc.Flags().StringVar(&agentID, "agent", "", "the workspace's agent (see: CALMenu agent list)")
	cc.Flags().Int("cpu", 0, "processors")
	cc.Flags().Int("memory", 0, "memory in MiB")
	cc.Flags().Int("disk", 0, "disk in GiB")
	networkFlags(cc)
	cc.RunE = func(cc *cobra.Command, args []string) error {
		values := map[string]string{}
		for flag, key := range map[string]string{
			"cpu": "resources.cpu", "memory": "resources.memory", "disk": "resources.disk_size",
			"proxy": "proxy.mode", "network": "network.policy",
		} {
			if f := cc.Flags().Lookup(flag); f.Changed {
				values[key] = f.Value.String()
			}
		}
		if agentID != "" {
			if _, err := c.app.Agents().Get(agentID); err != nil {
				return err
			}
			values["agent"] = agentID
		}
		p := c.newProgress()
		err := c.app.New(cc.Context(), args[0], values, p.Report)
		p.Done()
		if err != nil {
			return err
		}
		return c.say("Workspace %q is ready. Go on with: CALMenu session %s", args[0], args[0])
	}
	return cc
}

// say prints a sentence to standard output, unless JSON was asked for.
func (c *cmd) say(format string, args ...any) error {
	if c.json {
		return nil
	}
	_, err := fmt.Fprintf(c.streams.Out, format+"\n", args...)
	return err
}

func (c *cmd) start() *cobra.Command {
	cc := &cobra.Command{
		Use: "start [WORKSPACE]", Short: "Start a workspace and prove its isolation", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			if err := c.setNetwork(cc, arg(args, 0)); err != nil {
				return err
			}
			p := c.newProgress()
			began := time.Now()
			err := c.app.Start(cc.Context(), arg(args, 0), p.Report)
			p.Done()
			if err != nil {
				return err
			}
			return c.after(cc, arg(args, 0), began)
		},
	}
	networkFlags(cc)
	return cc
}

// after prints the state a verb has led to.
func (c *cmd) after(cc *cobra.Command, name string, began time.Time) error {
	w, err := c.app.Workspace(name)
	if err != nil {
		return err
	}
	s, err := c.app.State(cc.Context())
	if err != nil {
		return err
	}
	x, _ := s.Find(w.Name)
	return c.print(x, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s is %s: %s (%.1f s)\n", x.Name, x.Life, session.Printable(x.Why()),
			time.Since(began).Seconds())
		return err
	})
}

func (c *cmd) stop() *cobra.Command {
	return &cobra.Command{
		Use: "stop [WORKSPACE]", Short: "Shut a workspace down cleanly", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			p := c.newProgress()
			began := time.Now()
			err := c.app.Stop(cc.Context(), arg(args, 0), p.Report)
			p.Done()
			if err != nil {
				return err
			}
			return c.after(cc, arg(args, 0), began)
		},
	}
}

func (c *cmd) restart() *cobra.Command {
	return &cobra.Command{
		Use: "restart [WORKSPACE]", Short: "Shut a workspace down and start it again", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			p := c.newProgress()
			began := time.Now()
			err := c.app.Restart(cc.Context(), arg(args, 0), p.Report)
			p.Done()
			if err != nil {
				return err
			}
			return c.after(cc, arg(args, 0), began)
		},
	}
}

func (c *cmd) switchTo() *cobra.Command {
	return &cobra.Command{
		Use: "switch WORKSPACE", Short: "Make a workspace the current one", Args: cobra.ExactArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(_ *cobra.Command, args []string) error {
			return c.app.Switch(args[0])
		},
	}
}

// ask reads one line. The end of input is an empty answer: nobody there is nobody agreeing.
func (c *cmd) ask(question string) (string, error) {
	if _, err := fmt.Fprint(c.streams.Err, question); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(io.LimitReader(c.streams.In, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return strings.TrimSpace(line), nil
}
