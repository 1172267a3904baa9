package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
)

// ghScript starts gh where Homebrew puts it as well, which a shell that is no login shell does not know.
const ghScript = `PATH=$PATH:/opt/homebrew/bin:/usr/local/bin
export PATH
command -v gh >/dev/null 2>&1 || exit 127
exec gh "$@"`

// kindScript tells what kind of token gh has, by the beginning GitHub gives it; the token itself stays in the guest.
const kindScript = `PATH=$PATH:/opt/homebrew/bin:/usr/local/bin
case $(gh auth token --hostname github.com 2>/dev/null) in
github_pat_*) echo fine-grained ;;
ghp_*) echo classic ;;
gho_*) echo oauth ;;
ghu_* | ghs_*) echo app ;;
*) echo unknown ;;
esac`

// gh runs gh in the guest.
func gh(ctx context.Context, g Guest, dir string, stdin io.Reader, args ...string) (guest.Result, error) {
	r, err := g.Output(ctx, guest.Cmd{
		Argv: append([]string{"/bin/sh", "-c", ghScript, "sh"}, args...),
		Env: map[string]string{
			"LC_ALL": "C", "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0",
			"GH_PAGER": "cat",
		},
		Dir: dir, Stdin: stdin, Limit: 1 << 20,
	})
	if err == nil && r.Exit == 127 {
		err = hint.Wrap(ErrNoGH, "Install it in the guest, or make the workspace anew from a base image that has it.")
	}
	return r, err
}

// tokenKinds are how GitHub's tokens begin.
var tokenKinds = []struct{ prefix, kind string }{
	{"github_pat_", "fine-grained"},
	{"ghp_", "classic"},
	{"gho_", "oauth"},
	{"ghu_", "app"},
	{"ghs_", "app"},
}

// tokenForm is what a token may look like.
var tokenForm = lazyre.New(`^[A-Za-z0-9_]{20,255}$`)

const maxToken = 1 << 10 // bytes read where a token is expected

// TokenKind tells what kind of token something is by its beginning, "unknown" if that is none of GitHub's.
func TokenKind(token string) string {
	for _, k := range tokenKinds {
		if strings.HasPrefix(token, k.prefix) {
			return k.kind
		}
	}
	return "unknown"
}

// SignIn hands a token to `gh auth login --with-token` on standard input, and has git use it. Tokens that are not
// fine-grained open everything their owner has, and are refused unless force is set.
func SignIn(ctx context.Context, g Guest, token io.Reader, force bool) (Account, error) {
	fail := func(err error) (Account, error) { return Account{}, fmt.Errorf("signing in to GitHub: %w", err) }
	b, err := io.ReadAll(io.LimitReader(token, maxToken+1))
	if err != nil {
		return fail(fmt.Errorf("reading the token: %w", err))
	}
	secret := strings.TrimSpace(string(b))
	const how = "Make one at https://github.com/settings/personal-access-tokens/new for the repositories the agent works on: " +
		"Contents and Pull requests read and write."
	switch kind := TokenKind(secret); {
	case secret == "":
		return fail(hint.Errorf(how, "there is no token on standard input"))
	case len(b) > maxToken || !tokenForm.MatchString(secret):
		return fail(hint.Errorf(how, "what was given does not look like a token"))
	case kind != "fine-grained" && !force:
		return fail(hint.Wrap(fmt.Errorf("a token of kind %q is refused: %w", kind, ErrBroadToken),
			how+" --force takes this one all the same."))
	}
	ctx, cancel := context.WithTimeout(ctx, localTime)
	defer cancel()
	r, err := gh(ctx, g, "", strings.NewReader(secret+"\n"),
		"auth", "login", "--hostname", "github.com", "--git-protocol", "https", "--with-token")
	if err == nil && r.Exit != 0 {
		err = hint.Wrap(errors.New(strings.ReplaceAll(said(r).Error(), secret, "(token)")),
			"The token may have expired, or lack a permission. "+how)
	}
	if err != nil {
		return fail(err)
	}
	if r, err = gh(ctx, g, "", nil, "auth", "setup-git", "--hostname", "github.com"); err == nil && r.Exit != 0 {
		err = said(r)
	}
	if err != nil {
		return fail(fmt.Errorf("having git use the token: %w", err))
	}
	return SignedIn(ctx, g)
}

// notSignedIn is what gh says if it has no token, in all its versions.
var notSignedIn = lazyre.New(`(?i)not logged in(to)? `)

// SignedIn asks gh whether the guest is signed in to GitHub. What it cannot tell is Unknown, which is not signed in.
func SignedIn(ctx context.Context, g Guest) (Account, error) {
	ctx, cancel := context.WithTimeout(ctx, localTime)
	defer cancel()
	r, err := gh(ctx, g, "", nil, "auth", "status", "--hostname", "github.com")
	if err != nil {
		return Account{}, fmt.Errorf("asking gh whether it is signed in: %w", err)
	}
	text := string(r.Stdout) + string(r.Stderr)
	switch {
	case r.Exit == 0:
	case notSignedIn.MatchString(text):
		return Account{}, nil
	default:
		return Account{Unknown: said(r).Error()}, nil
	}
	a := Account{SignedIn: true, Kind: "unknown"}
	kind, err := g.Output(ctx, guest.Cmd{Argv: []string{"/bin/sh", "-c", kindScript}, Limit: 1 << 10})
	if err != nil {
		return a, fmt.Errorf("asking gh for its kind of token: %w", err)
	}
	if kind.Exit == 0 {
		a.Kind = clean(strings.TrimSpace(string(kind.Stdout)), 20)
	}
	// The name is for people: without it the answer is as good. By the API, since the text differs between versions.
	if r, err := gh(ctx, g, "", nil, "api", "user", "--jq", ".login"); err == nil && r.Exit == 0 {
		a.User = clean(strings.TrimSpace(string(r.Stdout)), 60)
	}
	return a, nil
}

// SignOut has gh forget its token.
func SignOut(ctx context.Context, g Guest) error {
	ctx, cancel := context.WithTimeout(ctx, localTime)
	defer cancel()
	r, err := gh(ctx, g, "", nil, "auth", "logout", "--hostname", "github.com")
	if err == nil && r.Exit != 0 {
		if notSignedIn.MatchString(string(r.Stdout) + string(r.Stderr)) {
			return nil
		}
		err = said(r)
	}
	if err != nil {
		return fmt.Errorf("signing out of GitHub: %w", err)
	}
	return nil
}

// pullURL is the address of a pull request, on GitHub or a GitHub Enterprise server.
var pullURL = lazyre.New(`https://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/pull/[0-9]+`)

// PullRequest opens a pull request for a repository's branch, which it pushes first, and returns its address; if there is
// one already, that one's. Uncommitted work is an error: it would not be in it.
func PullRequest(ctx context.Context, g Guest, name string, o PullOptions) (Pull, error) {
	fail := func(err error) (Pull, error) {
		return Pull{}, fmt.Errorf("opening a pull request for %q: %w", clean(name, 100), err)
	}
	s, err := One(ctx, g, name)
	if err != nil {
		return fail(err)
	}
	if n := s.Changed + s.Untracked; n > 0 {
		return fail(hint.Errorf("Commit first: CALMenu commit --repo "+clean(s.Name, 60),
			"%s would not be in it", count(n, "uncommitted file", "uncommitted files")))
	}
	name = s.Name
	pushed, err := Push(ctx, g, name)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, localTime)
	defer cancel()
	args := []string{"pr", "create", "--head", pushed.Branch}
	if o.Title == "" && o.Body == "" {
		args = append(args, "--fill")
	} else {
		title := o.Title
		if title == "" {
			if title, err = git(ctx, g, name, nil, "log", "-1", "--format=%s"); err != nil {
				return fail(err)
			}
		}
		args = append(args, "--title="+title, "--body-file", "-")
	}
	if o.Base != "" {
		args = append(args, "--base="+o.Base)
	}
	if o.Draft {
		args = append(args, "--draft")
	}
	r, err := gh(ctx, g, workspaceDir+"/"+name, strings.NewReader(o.Body), args...)
	if err != nil {
		return fail(err)
	}
	p := Pull{Repo: name, Branch: pushed.Branch}
	text := string(r.Stdout)
	if r.Exit != 0 && strings.Contains(string(r.Stderr), "already exists") {
		text, r.Exit = string(r.Stderr), 0
	}
	if r.Exit != 0 {
		return fail(hint.Wrap(said(r), "The branch is pushed. Sign in with a token that may write pull requests: CALMenu auth login"))
	}
	if p.URL = pullURL.FindString(text); p.URL == "" {
		return fail(errors.New("gh did not tell its address"))
	}
	return p, nil
}
