package cli

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/hostproxy"
	"github.com/calmenu/calmenu/internal/netlog"
)

// filterFlags gives a verb the flags that choose entries of the log.
func filterFlags(cc *cobra.Command) func() (app.NetworkFilter, error) {
	denied := cc.Flags().Bool("denied", false, "only what was refused")
	since := cc.Flags().String("since", "", "only what is newer: a duration such as 2h, or a time such as 2026-01-17T14:30:00Z")
	return func() (app.NetworkFilter, error) {
		f := app.NetworkFilter{Denied: *denied}
		if *since == "" {
			return f, nil
		}
		if d, err := time.ParseDuration(*since); err == nil && d >= 0 {
			f.Since = time.Now().Add(-d)
			return f, nil
		}
		t, err := time.Parse(time.RFC3339, *since)
		if err != nil {
			return f, hint.Wrap(fmt.Errorf("%w: %q is neither a duration nor a time", errUsage, *since),
				"Write --since 2h, or --since 2026-01-17T14:30:00Z")
		}
		f.Since = t
		return f, nil
	}
}

func (c *cmd) netLog() *cobra.Command {
	var follow, pause bool
	cc := &cobra.Command{
		Use: "log [WORKSPACE]", Short: "Show the guest's connections and what was refused, oldest first", Args: cobra.MaximumNArgs(1),
		Long: `Show the guest's connections and what was refused, oldest first. Refusals that repeat are counted (x12). With --json
each is one line, the same as in the file.`,
		ValidArgsFunction: c.workspaceNames,
	}
	filter := filterFlags(cc)
	cc.Flags().BoolVar(&follow, "follow", false, "go on with what comes, until Ctrl-C")
	cc.Flags().BoolVar(&pause, "pause", false, "wait for Enter at the end")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		if pause {
			defer c.pause()
		}
		f, err := filter()
		if err != nil {
			return err
		}
		entries, err := c.app.NetworkLog(arg(args, 0), f)
		if err != nil {
			return err
		}
		if c.json {
			for _, e := range entries {
				if err := c.entryLine(e); err != nil {
					return err
				}
			}
		} else if err := entryTable(entries)(c.streams.Out); err != nil {
			return err
		}
		if !follow {
			return nil
		}
		return c.app.FollowNetworkLog(cc.Context(), arg(args, 0), f, func(e netlog.Entry) { _ = c.entryLine(e) })
	}
	return cc
}

// entryLine prints one entry: as JSON, or as a row.
func (c *cmd) entryLine(e netlog.Entry) error {
	if c.json {
		return json.NewEncoder(c.streams.Out).Encode(e)
	}
	_, err := fmt.Fprintln(c.streams.Out, printable(strings.ReplaceAll(entryRow(e), "\t", "  ")))
	return err
}

func (c *cmd) netTop() *cobra.Command {
	cc := &cobra.Command{
		Use: "top [WORKSPACE]", Short: "Sum the connections up by name, those with the most bytes first", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
	}
	filter := filterFlags(cc)
	most := cc.Flags().Int("most", 20, "how many names to show; 0 is all")
	cc.RunE = func(_ *cobra.Command, args []string) error {
		f, err := filter()
		if err != nil {
			return err
		}
		entries, err := c.app.NetworkLog(arg(args, 0), f)
		if err != nil {
			return err
		}
		uses := netlog.Top(entries)
		if *most > 0 && len(uses) > *most {
			uses = uses[:*most]
		}
		return c.print(uses, table("NAME\tCONNECTIONS\tREFUSED\tUP\tDOWN\tLAST", func(yield func(string) bool) {
			for _, u := range uses {
				row := fmt.Sprintf("%s\t%d\t%d\t%s\t%s\t%s",
					cmp.Or(u.Host, "-"), u.Connections, u.Refused, size(u.BytesUp), size(u.BytesDown),
					humanize.Time(u.Last))
				if !yield(row) {
					return
				}
			}
		}))
	}
	return cc
}

func (c *cmd) netLogin() *cobra.Command {
	return &cobra.Command{
		Use: "login PROXY", Short: "Keep the login for a proxy of this host in its keychain", Args: cobra.ExactArgs(1),
		Long: `Keep the login for a proxy this host uses (http://proxy.example.org:8080) in its keychain. It is read from standard
input, as "user:password" on one line; on a terminal it is asked for.`,
		RunE: func(_ *cobra.Command, args []string) error {
			proxy, err := proxyArg(args[0])
			if err != nil {
				return err
			}
			login, err := c.readLogin()
			if err != nil {
				return err
			}
			if err := c.app.KeepProxyLogin(proxy, login); err != nil {
				return err
			}
			return c.say("The login for %s is in the keychain.", hostproxy.Address(proxy))
		},
	}
}

func (c *cmd) netLogout() *cobra.Command {
	return &cobra.Command{
		Use: "logout PROXY", Short: "Remove the login for a proxy from the keychain", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			proxy, err := proxyArg(args[0])
			if err != nil {
				return err
			}
			if err := c.app.DropProxyLogin(proxy); err != nil {
				return err
			}
			return c.say("The login for %s is gone.", hostproxy.Address(proxy))
		},
	}
}

// proxyArg reads a proxy; a password on the command line is seen by everybody on the machine.
func proxyArg(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, hint.Wrap(fmt.Errorf("%w: not the URL of a proxy", errUsage), "Write http://proxy.example.org:8080")
	}
	if u.User != nil {
		return nil, hint.Wrap(fmt.Errorf("%w: a login does not belong on a command line", errUsage),
			"Leave it out of the URL; it is asked for, or read from standard input.")
	}
	return u, nil
}

func (c *cmd) readLogin() (string, error) {
	if !c.interactive() {
		line, err := bufio.NewReader(io.LimitReader(c.streams.In, 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", fmt.Errorf("reading the login: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	user, err := c.ask("User: ")
	if err != nil {
		return "", err
	}
	_, _ = fmt.Fprint(c.streams.Err, "Password: ")
	password, err := term.ReadPassword(int(c.streams.In.Fd()))
	_, _ = fmt.Fprintln(c.streams.Err)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return user + ":" + string(password), nil
}
