package cli

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/netlog"
	"github.com/calmenu/calmenu/internal/netpolicy"
)

func (c *cmd) net() *cobra.Command {
	cc := &cobra.Command{
		Use: "net", Short: "Show and change what a workspace's guest may reach",
		Long: `Show and change what a workspace's guest may reach. Changes hold at once, also in a workspace that runs, and leave
connections that exist alone. docs/network.md tells the whole story.`,
	}
	cc.AddCommand(
		c.netStatus(), c.netRules(), c.netTest(), c.netAllow(), c.netDeny(), c.netMode(), c.netPolicy(), c.netLog(), c.netTop(),
		c.netPresets(), c.netLogin(), c.netLogout(),
	)
	return cc
}

// forWorkspace gives a verb whose argument is something else a flag for the workspace.
func (c *cmd) forWorkspace(cc *cobra.Command) *string {
	name := cc.Flags().StringP("workspace", "w", "", "the workspace; the current one if left out")
	names := func(cc *cobra.Command, _ []string, s string) ([]string, cobra.ShellCompDirective) {
		return c.workspaceNames(cc, nil, s)
	}
	_ = cc.RegisterFlagCompletionFunc("workspace", names)
	return name
}

func (c *cmd) netStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status [WORKSPACE]", Short: "Show how the guest gets out, and its last connections", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			st, err := c.app.NetworkStatus(cc.Context(), arg(args, 0))
			if err != nil {
				return err
			}
			return c.print(st, func(w io.Writer) error { return netStatusText(w, st) })
		},
	}
}

func netStatusText(w io.Writer, st app.NetworkStatus) error {
	tunnel := "in force"
	if !st.Tunnel {
		tunnel = "not in force"
	}
	_, err := fmt.Fprintf(w, "%s: policy %s, %d rules\n  tunnel      %s (%s: %s)\n", st.Workspace, st.Policy, st.Rules, tunnel,
		st.Mode, printable(st.Why))
	if err == nil && !st.Tested.IsZero() {
		detail := "reached"
		if !st.Direct {
			detail = "not reached: " + printable(st.Detail)
		}
		_, err = fmt.Fprintf(w, "  by itself   %s %s (tested %s)\n", st.Probe, detail, humanize.Time(st.Tested))
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "  host proxy  %s\n", printable(st.HostProxy))
	}
	for _, a := range st.Asked {
		if err == nil {
			_, err = fmt.Fprintf(w, "  asks for    %s (CALMenu net allow %s, or net deny)\n", printable(a), printable(a))
		}
	}
	if err == nil && len(st.Recent) > 0 {
		if _, err = fmt.Fprintln(w); err == nil {
			err = entryTable(st.Recent)(w)
		}
	}
	return err
}

const entryHeader = "TIME\tVERDICT\tDESTINATION\tADDRESS\tUP\tDOWN\tTOOK\tRULE OR REASON"

func entryTable(entries []netlog.Entry) func(io.Writer) error {
	return table(entryHeader, func(yield func(string) bool) {
		for _, e := range entries {
			if !yield(entryRow(e)) {
				return
			}
		}
	})
}

func entryRow(e netlog.Entry) string {
	verdict, why, addr := "allowed", e.Rule, ""
	if e.Origin != "" {
		why += ", " + e.Origin
	}
	if !e.Allowed {
		verdict, why = "refused", e.Reason
	}
	if e.Err != "" {
		why = e.Err
		if e.Allowed {
			verdict = "failed"
		}
	}
	if e.Addr.IsValid() {
		addr = e.Addr.String()
	}
	if e.Times() > 1 {
		verdict += fmt.Sprintf(" x%d", e.Times())
	}
	where := "-"
	if e.Port != 0 {
		where = netpolicy.HostPort(e.Host, e.Port)
	} else if e.Host != "" {
		where = e.Host
	}
	return strings.Join([]string{
		e.Time.Local().Format(time.DateTime), verdict, where, addr, size(e.BytesUp), size(e.BytesDown),
		e.Duration.Round(time.Millisecond).String(), why,
	}, "\t")
}

func (c *cmd) netRules() *cobra.Command {
	return &cobra.Command{
		Use: "rules [WORKSPACE]", Short: "List the rules in the order in which they decide, and where each is from",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			p, err := c.app.NetworkRules(cc.Context(), arg(args, 0))
			if err != nil {
				return err
			}
			return c.print(p, func(w io.Writer) error {
				err := table("ACTION\tDESTINATION\tFROM", func(yield func(string) bool) {
					for _, r := range p.Rules {
						if !yield(r.Action + "\t" + r.Destination + "\t" + r.Origin) {
							return
						}
					}
				})(w)
				if err == nil {
					_, err = fmt.Fprintln(w, afterRules[p.Policy])
				}
				return err
			})
		},
	}
}

// afterRules says what becomes of the rest.
var afterRules = map[string]string{
	"allowlist": "Everything else is refused.",
	"ask":       "About everything else a person is asked.",
	"open":      "Everything else is allowed, if it is a public address.",
	"offline":   "The workspace is offline: everything is refused, whatever the rules say.",
}

func (c *cmd) netTest() *cobra.Command {
	cc := &cobra.Command{
		Use: "test DESTINATION", Short: "Say what the policy makes of a name or address, without going there",
		Args: cobra.ExactArgs(1), Example: "  CALMenu net test github.com:22",
	}
	name := c.forWorkspace(cc)
	cc.RunE = func(cc *cobra.Command, args []string) error {
		host, port := args[0], 443
		if h, p, err := net.SplitHostPort(args[0]); err == nil {
			host = h
			if port, err = netpolicy.ParsePort(p); err != nil {
				return hint.Wrap(fmt.Errorf("%w: %w", errUsage, err), "Usage: "+cc.UseLine())
			}
		}
		d, err := c.app.WouldReach(cc.Context(), *name, host, port)
		if err != nil {
			return err
		}
		return c.print(d, func(w io.Writer) error {
			where := printable(netpolicy.HostPort(host, port))
			switch {
			case d.Allowed:
				_, err = fmt.Fprintf(w, "%s is allowed by %s (%s), unless it leads where no guest may.\n", where, d.Rule, d.Origin)
			case d.Ask:
				_, err = fmt.Fprintf(w, "%s is asked about (%s).\n", where, d.Rule)
			default:
				_, err = fmt.Fprintf(w, "%s %s.\n", where, printable(d.Reason))
			}
			return err
		})
	}
	return cc
}

func (c *cmd) netAllow() *cobra.Command {
	var once bool
	cc := &cobra.Command{
		Use: "allow DESTINATION", Short: "Let the guest reach a name, address or preset", Args: cobra.ExactArgs(1),
		Long: `Let the guest reach a destination: a name, *.name, address or range, each with an optional :port, or preset:NAME. It
is added to network.allow in the workspace's vm.yaml; with --once it holds for 15 minutes. A connection that waits for it goes
on.`,
		Example: "  CALMenu net allow api.example.org:443\n  CALMenu net allow preset:pypi --once",
	}
	name := c.forWorkspace(cc)
	cc.Flags().BoolVar(&once, "once", false, "for 15 minutes, instead of always")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		if err := isDestination(args[0]); err != nil {
			return err
		}
		against, err := c.app.AllowNetwork(cc.Context(), *name, args[0], once)
		if err != nil {
			return err
		}
		howLong := "from now on"
		if once {
			howLong = "for 15 minutes"
		}
		if against != "" {
			return c.say("%s is in the list, but counts for nothing yet. %s", args[0], printable(against))
		}
		return c.say("%s is allowed %s.", args[0], howLong)
	}
	return cc
}

func (c *cmd) netDeny() *cobra.Command {
	cc := &cobra.Command{
		Use: "deny DESTINATION", Short: "Keep the guest from a name, address or preset", Args: cobra.ExactArgs(1),
		Long: `Keep the guest from a destination: it is taken out of network.allow in the workspace's vm.yaml, and a rule against it
put before all others. CALMenu net allow takes that back.`,
	}
	name := c.forWorkspace(cc)
	cc.RunE = func(_ *cobra.Command, args []string) error {
		if err := isDestination(args[0]); err != nil {
			return err
		}
		if err := c.app.DenyNetwork(*name, args[0]); err != nil {
			return err
		}
		return c.say("%s is refused from now on.", args[0])
	}
	return cc
}

// isDestination tells whether an argument is a destination, as a usage error where it is none.
func isDestination(text string) error {
	if _, err := netpolicy.ParseDestination(text, ""); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return nil
}

func (c *cmd) netMode() *cobra.Command {
	cc := &cobra.Command{
		Use: "mode auto|on|off", Short: "Say whether the guest's network goes through the tunnel", Args: cobra.ExactArgs(1),
		Long: `Say whether the guest's network goes through the tunnel: on, off, or auto, which tests from inside the guest whether
it reaches network.probe by itself, and takes the tunnel only if it does not. What goes through the tunnel ends when it is
switched off; sessions go on.`,
		ValidArgs: []string{"auto", "on", "off"},
	}
	name := c.forWorkspace(cc)
	cc.RunE = func(_ *cobra.Command, args []string) error {
		if err := c.app.SetNetworkMode(*name, args[0]); err != nil {
			return err
		}
		r, err := c.app.NetworkReach(*name)
		if err != nil {
			return err
		}
		return c.say("The tunnel is %s: %s.", map[bool]string{true: "in force", false: "not in force"}[r.Tunnel], r.Why)
	}
	return cc
}

func (c *cmd) netPolicy() *cobra.Command {
	cc := &cobra.Command{
		Use: "policy allowlist|ask|open|offline", Short: "Say what becomes of destinations no rule is for", Args: cobra.ExactArgs(1),
		ValidArgs: []string{"allowlist", "ask", "open", "offline"},
	}
	name := c.forWorkspace(cc)
	cc.RunE = func(_ *cobra.Command, args []string) error {
		if err := c.app.SetNetworkPolicy(*name, args[0]); err != nil {
			return err
		}
		return c.say("%s", afterRules[args[0]])
	}
	return cc
}

func (c *cmd) netPresets() *cobra.Command {
	return &cobra.Command{
		Use: "presets", Short: "List the presets and what each allows", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all := netpolicy.Presets()
			return c.print(all, func(w io.Writer) error {
				for _, p := range all {
					_, err := fmt.Fprintf(w, "preset:%s  %s\n  %s\n  from %s\n", p.Name, p.Doc, strings.Join(p.Allow, " "), p.Source)
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// networkFlags gives a verb that starts a workspace the flags that set how it gets out, as `net mode` and `net policy` do.
func networkFlags(cc *cobra.Command) {
	cc.Flags().String("proxy", "", "the tunnel for the guest's network: auto, on or off; kept for the workspace")
	cc.Flags().String("network", "", "what becomes of what no rule is for: allowlist, ask, open or offline; kept for the workspace")
}

// setNetwork carries out what was said with them.
func (c *cmd) setNetwork(cc *cobra.Command, workspace string) error {
	for flag, set := range map[string]func(workspace, value string) error{
		"proxy": c.app.SetNetworkMode, "network": c.app.SetNetworkPolicy,
	} {
		if f := cc.Flags().Lookup(flag); f != nil && f.Changed {
			if err := set(workspace, f.Value.String()); err != nil {
				return err
			}
		}
	}
	return nil
}
