package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/calmenu/calmenu/app"
)

func (c *cmd) sshConfig() *cobra.Command {
	var printOnly, install, remove, start bool
	cc := &cobra.Command{
		Use: "ssh-config [WORKSPACE...]", Short: "Let ssh, scp, rsync, git and editors reach the workspaces",
		Long: `Write ~/.cal/ssh_config, in which each workspace is a host cal-WORKSPACE, reached by its own key and only if it
shows the host key pinned for it. --install has ~/.ssh/config include that file; --remove takes that back. Once written, the
file follows the workspaces that come and go. --print shows it, of the named workspaces alone if there are names.`,
		Args: func(_ *cobra.Command, args []string) error {
			if printOnly && install || printOnly && remove || install && remove {
				return errors.New("only one of --print, --install and --remove can be given")
			}
			if len(args) > 0 && !printOnly {
				return errors.New("workspaces are named with --print alone: the file always holds all of them")
			}
			return nil
		},
		ValidArgsFunction: c.workspaceNames,
	}
	f := cc.Flags()
	f.BoolVar(&printOnly, "print", false, "print the configuration and write nothing")
	f.BoolVar(&install, "install", false, "include the file in ~/.ssh/config")
	f.BoolVar(&remove, "remove", false, "take the include out of ~/.ssh/config")
	f.BoolVar(&start, "start", false, "start a VM that is not running when it is connected to")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		switch {
		case printOnly:
			text, err := c.app.SSHConfig(args, start)
			if err != nil {
				return err
			}
			return c.print(map[string]string{"config": text}, func(w io.Writer) error {
				_, err := io.WriteString(w, text)
				return err
			})
		case remove:
			return c.removeSSHInclude()
		}
		return c.writeSSHConfig(cc, install, start)
	}
	return cc
}

// sshConfigDone is what ssh-config has led to.
type sshConfigDone struct {
	File    string   `json:"file"`
	Hosts   []string `json:"hosts"`
	Include string   `json:"include,omitempty"` // the file that includes File, where that was asked for
	Changed bool     `json:"changed"`           // whether Include was
}

func (c *cmd) writeSSHConfig(cc *cobra.Command, install, start bool) error {
	if err := c.app.WriteSSHConfig(cc.Context(), start); err != nil {
		return err
	}
	names, err := c.app.Config().Workspaces()
	if err != nil {
		return err
	}
	done := sshConfigDone{File: c.app.SSHConfigFile(), Hosts: []string{}}
	for _, n := range slices.Sorted(slices.Values(names)) {
		done.Hosts = append(done.Hosts, app.SSHHost(n))
	}
	if install {
		if done.Include, done.Changed, err = c.app.InstallSSHInclude(); err != nil {
			return err
		}
	}
	return c.print(done, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s has %d hosts.\n", done.File, len(done.Hosts))
		host := app.SSHHost("WORKSPACE")
		if len(done.Hosts) > 0 {
			host = done.Hosts[0]
		}
		switch {
		case !install:
			_, err = fmt.Fprintf(w, "Use it with: ssh -F %s %s\nor for good: CALMenu ssh-config --install\n", done.File, host)
		case done.Changed:
			_, err = fmt.Fprintf(w, "%s includes it now. Try: ssh %s\n", done.Include, host)
		case err == nil:
			_, err = fmt.Fprintf(w, "%s includes it already. Try: ssh %s\n", done.Include, host)
		}
		return err
	})
}

func (c *cmd) removeSSHInclude() error {
	file, changed, err := c.app.RemoveSSHInclude()
	if err != nil {
		return err
	}
	return c.print(sshConfigDone{File: c.app.SSHConfigFile(), Hosts: []string{}, Include: file, Changed: changed},
		func(w io.Writer) error {
			text := "%s no longer includes CALMenu's hosts.\n"
			if !changed {
				text = "%s does not include CALMenu's hosts: nothing to take out.\n"
			}
			_, err := fmt.Fprintf(w, text, file)
			return err
		})
}

// sshProxy is what ssh(1) runs as its ProxyCommand.
func (c *cmd) sshProxy() *cobra.Command {
	var start bool
	cc := &cobra.Command{
		Use: "ssh-proxy WORKSPACE", Short: "Connect standard input and output to a guest's SSH server", Hidden: true,
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().BoolVar(&start, "start", false, "start the VM if it is not running")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		// The runtime ends a process that writes to a closed standard output; here that is an end like any other.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
		p := c.newProgress()
		out := &clearingOut{p: p, w: c.streams.Out}
		return c.app.SSHProxy(cc.Context(), args[0], c.streams.In, out, start, p.Report)
	}
	return cc
}

// clearingOut ends the progress line before the first byte goes out.
type clearingOut struct {
	p *progress
	w io.Writer
}

func (o *clearingOut) Write(b []byte) (int, error) {
	if o.p != nil {
		o.p.Done()
		o.p = nil
	}
	return o.w.Write(b)
}
