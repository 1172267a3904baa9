package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// githubVerbs are the verbs about repositories in the guest.
func (c *cmd) githubVerbs() []*cobra.Command {
	return []*cobra.Command{c.clone(), c.repos(), c.commit(), c.push(), c.pr(), c.auth(), c.risk()}
}

func (c *cmd) clone() *cobra.Command {
	var o github.CloneOptions
	cc := &cobra.Command{
		Use: "clone REPOSITORY [WORKSPACE]", Short: "Clone a repository into the guest", Args: cobra.RangeArgs(1, 2),
		Long: `Clone a repository into ~/workspace of the guest: OWNER/REPO of GitHub, or an https or ssh address. A branch for the
agent is made and checked out.`,
	}
	cc.Flags().StringVar(&o.Branch, "branch", "", "the branch to start from; the default one if left out")
	cc.Flags().StringVar(&o.NewBranch, "new-branch", "", "the name of the branch that is made; agent/ and the time if left out")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		var r github.Cloned
		err := c.quietly(func(p vm.Progress) (err error) {
			p.Report(vm.Phase{Name: "cloning"})
			r, err = c.app.Clone(cc.Context(), arg(args, 1), args[0], o)
			return err
		})
		if err != nil {
			return err
		}
		return c.print(r, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "Cloned into ~/workspace/%s, on branch %s.\n", printable(r.Repo), printable(r.Branch))
			return err
		})
	}
	return cc
}

func (c *cmd) repos() *cobra.Command {
	return &cobra.Command{
		Use: "repos [WORKSPACE]", Short: "List the repositories in the guest's ~/workspace", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			list, err := c.app.Repositories(cc.Context(), arg(args, 0))
			if err != nil {
				return err
			}
			return c.print(list, table("REPOSITORY\tBRANCH\tUNCOMMITTED\tAHEAD\tBEHIND", func(yield func(string) bool) {
				for _, s := range list {
					branch := s.Branch
					if branch == "" {
						branch = "(detached)"
					}
					row := fmt.Sprintf("%s\t%s\t%d\t%d\t%d", oneCell(s.Name), oneCell(branch), s.Changed+s.Untracked, s.Ahead, s.Behind)
					if s.Problem != "" {
						row = fmt.Sprintf("%s\t%s\t?\t?\t?  %s", oneCell(s.Name), oneCell(branch), oneCell(s.Problem))
					}
					if !yield(row) {
						return
					}
				}
			}))
		},
	}
}

// oneCell keeps a name of the guest's from becoming several cells of a table.
func oneCell(s string) string { return strings.ReplaceAll(printable(s), "\t", " ") }

// declined is the error for a person who said no.
func declined(what string) error {
	return hint.Wrap(fmt.Errorf("%s: %w", what, app.ErrDeclined), "Nothing was changed. --yes does not ask.")
}

func (c *cmd) commit() *cobra.Command {
	var repo, message string
	var push, yes bool
	cc := &cobra.Command{
		Use: "commit [WORKSPACE]", Short: "Commit everything in a repository in the guest", Args: cobra.MaximumNArgs(1),
		Long: `Show what has changed in a repository in the guest, ask, and commit all of it. The default branch is never committed
to: on it, a branch for the agent is made first.`,
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringVar(&repo, "repo", "", "the directory below ~/workspace; may be left out if there is only one")
	cc.Flags().StringVarP(&message, "message", "m", "", "what was done")
	cc.Flags().BoolVar(&push, "push", false, "push the branch as well")
	cc.Flags().BoolVar(&yes, "yes", false, "neither show the changes nor ask")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		name := arg(args, 0)
		if yes && message == "" {
			return hint.Wrap(fmt.Errorf("%w: there is no message", errUsage), "Give one: -m 'What was done'")
		}
		if !yes {
			var err error
			if repo, message, err = c.askToCommit(cc, name, repo, message); err != nil {
				return err
			}
		}
		var r app.CommitResult
		err := c.quietly(func(p vm.Progress) (err error) {
			p.Report(vm.Phase{Name: "committing"})
			r, err = c.app.Commit(cc.Context(), name, repo, message, push)
			return err
		})
		if r.Commit == "" {
			return err
		}
		// It is committed, whatever became of what was to follow.
		if perr := c.print(r, func(w io.Writer) error { return commitText(w, r) }); err == nil {
			err = perr
		}
		return err
	}
	return cc
}

func commitText(w io.Writer, r app.CommitResult) error {
	files := "files"
	if r.Files == 1 {
		files = "file"
	}
	_, err := fmt.Fprintf(w, "Committed %d %s to %s in %s (%.10s).\n", r.Files, files, printable(r.Branch), printable(r.Repo),
		printable(r.Commit))
	if err == nil && r.Pushed != nil {
		err = pushText(w, *r.Pushed)
	}
	if err == nil && r.Pull != nil {
		_, err = fmt.Fprintln(w, printable(r.Pull.URL))
	}
	return err
}

func pushText(w io.Writer, r github.Pushed) error {
	_, err := fmt.Fprintf(w, "Pushed %s of %s to %s.\n", printable(r.Branch), printable(r.Repo), printable(r.Remote))
	return err
}

// askToCommit shows what has changed and asks whether to commit it, and for a message if there is none.
func (c *cmd) askToCommit(cc *cobra.Command, name, repo, message string) (string, string, error) {
	d, err := c.app.Diff(cc.Context(), name, repo)
	if err != nil {
		return "", "", err
	}
	if d.Count == 0 {
		return "", "", hint.Wrap(fmt.Errorf("committing in %q: %w", d.Repo, github.ErrNothing), "Everything is committed already.")
	}
	show := c.streams.Out
	if c.json {
		show = c.streams.Err
	}
	if err := diffText(show, d); err != nil {
		return "", "", err
	}
	if message == "" {
		if message, err = c.ask("Message (nothing: do not commit): "); err != nil {
			return "", "", err
		}
		if message == "" {
			return "", "", declined("committing in " + printable(d.Repo))
		}
		return d.Repo, message, nil
	}
	answer, err := c.ask(fmt.Sprintf("Commit all of this in %s? [y/N] ", printable(d.Repo)))
	if err != nil {
		return "", "", err
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return "", "", declined("committing in " + printable(d.Repo))
	}
	return d.Repo, message, nil
}

func diffText(w io.Writer, d github.Diff) error {
	var b strings.Builder
	b.WriteString(d.Text)
	if d.Truncated {
		b.WriteString("(There is more than is shown.)\n")
	}
	b.WriteString("\n")
	for _, f := range d.Files {
		b.WriteString(printable(f) + "\n")
	}
	if n := d.Count - len(d.Files); n > 0 {
		fmt.Fprintf(&b, "and %d more\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *cmd) push() *cobra.Command {
	var repo string
	cc := &cobra.Command{
		Use: "push [WORKSPACE]", Short: "Push a repository's branch, never the default one", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringVar(&repo, "repo", "", "the directory below ~/workspace; may be left out if there is only one")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		var r github.Pushed
		err := c.quietly(func(p vm.Progress) (err error) {
			p.Report(vm.Phase{Name: "pushing"})
			r, err = c.app.Push(cc.Context(), arg(args, 0), repo)
			return err
		})
		if err != nil {
			return err
		}
		return c.print(r, func(w io.Writer) error { return pushText(w, r) })
	}
	return cc
}

func (c *cmd) pr() *cobra.Command {
	var repo string
	var o github.PullOptions
	cc := &cobra.Command{
		Use: "pr [WORKSPACE]", Short: "Push a repository's branch and open a pull request", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
	}
	cc.Flags().StringVar(&repo, "repo", "", "the directory below ~/workspace; may be left out if there is only one")
	cc.Flags().StringVar(&o.Title, "title", "", "its title; from the commits if left out")
	cc.Flags().StringVar(&o.Body, "body", "", "its description")
	cc.Flags().StringVar(&o.Base, "base", "", "the branch it is to go into; the default one if left out")
	cc.Flags().BoolVar(&o.Draft, "draft", false, "open it as a draft")
	cc.RunE = func(cc *cobra.Command, args []string) error {
		var r github.Pull
		err := c.quietly(func(p vm.Progress) (err error) {
			p.Report(vm.Phase{Name: "opening the pull request"})
			r, err = c.app.PullRequest(cc.Context(), arg(args, 0), repo, o)
			return err
		})
		if err != nil {
			return err
		}
		return c.print(r, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, printable(r.URL))
			return err
		})
	}
	return cc
}

func (c *cmd) auth() *cobra.Command {
	cc := &cobra.Command{Use: "auth", Short: "Sign a workspace's guest in to GitHub, and out"}
	var force bool
	login := &cobra.Command{
		Use: "login [WORKSPACE]", Short: "Sign in with a fine-grained token, from standard input or asked for",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.workspaceNames,
		Long: `Sign the guest in to GitHub with a fine-grained personal access token, made for the repositories the agent works on
(Contents and Pull requests: read and write). It is read from standard input, or asked for unseen on a terminal, and goes
to gh in the guest in the same way: never through a command line, an environment or a log.`,
	}
	login.Flags().BoolVar(&force, "force", false, "take a token that opens more, such as a classic one")
	login.RunE = func(cc *cobra.Command, args []string) error {
		w, err := c.app.Workspace(arg(args, 0))
		if err != nil {
			return err
		}
		token, err := c.readToken()
		if err != nil {
			return err
		}
		r, err := c.app.GitHubSignIn(cc.Context(), w.Name, token, force)
		if err != nil {
			return err
		}
		return c.print(r, func(out io.Writer) error { return accountText(out, w.Name, r) })
	}
	status := &cobra.Command{
		Use: "status [WORKSPACE]", Short: "Tell whether the guest is signed in to GitHub", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			w, err := c.app.Workspace(arg(args, 0))
			if err != nil {
				return err
			}
			r, err := c.app.GitHubAccount(cc.Context(), w.Name)
			if err != nil {
				return err
			}
			return c.print(r, func(out io.Writer) error { return accountText(out, w.Name, r) })
		},
	}
	logout := &cobra.Command{
		Use: "logout [WORKSPACE]", Short: "Have the guest forget its GitHub token", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: c.workspaceNames,
		RunE: func(cc *cobra.Command, args []string) error {
			if err := c.app.GitHubSignOut(cc.Context(), arg(args, 0)); err != nil {
				return err
			}
			return c.say("Signed out of GitHub.")
		},
	}
	cc.AddCommand(login, status, logout)
	return cc
}

func accountText(w io.Writer, workspace string, r github.Account) error {
	text := fmt.Sprintf("Not signed in to GitHub in %s.", workspace)
	switch {
	case r.SignedIn && r.User != "":
		text = fmt.Sprintf("Signed in to GitHub in %s as %s (%s token).", workspace, r.User, r.Kind)
	case r.SignedIn:
		text = fmt.Sprintf("Signed in to GitHub in %s (%s token).", workspace, r.Kind)
	case r.Unknown != "":
		text = fmt.Sprintf("Whether %s is signed in to GitHub is unknown: %s", workspace, r.Unknown)
	}
	_, err := fmt.Fprintln(w, printable(text))
	return err
}

// readToken asks for a token unseen on a terminal, and reads standard input elsewhere.
func (c *cmd) readToken() (io.Reader, error) {
	if !term.IsTerminal(int(c.streams.In.Fd())) {
		return c.streams.In, nil
	}
	if _, err := io.WriteString(c.streams.Err, "Token (it is not shown): "); err != nil {
		return nil, fmt.Errorf("asking for the token: %w", err)
	}
	b, err := readPassword(c.streams.In)
	_, _ = io.WriteString(c.streams.Err, "\n")
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	return bytes.NewReader(b), nil
}

func readPassword(f *os.File) ([]byte, error) { return term.ReadPassword(int(f.Fd())) }
