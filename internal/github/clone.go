package github

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
)

//go:embed scripts/clone.sh
var cloneScript string

// Source is where a repository is cloned from.
type Source struct {
	URL         string
	Owner, Repo string
}

var (
	ownerRepo = lazyre.New(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}/[A-Za-z0-9._-]{1,100}$`)
	scpURL    = lazyre.New(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[A-Za-z0-9._~/-]+$`)
	repoName  = lazyre.New(`^[A-Za-z0-9._-]{1,100}$`)
)

// ParseSource reads OWNER/REPO (of github.com), an https or ssh URL, or USER@HOST:PATH.
func ParseSource(s string) (Source, error) {
	bad := func(why string) (Source, error) {
		return Source{}, hint.Errorf("Give OWNER/REPO, or a URL such as https://github.com/OWNER/REPO.",
			"%q is no repository: %s", clean(redact(s), 200), why)
	}
	src := Source{URL: s}
	path := s
	switch {
	case ownerRepo.MatchString(s):
		src.URL = "https://github.com/" + strings.TrimSuffix(s, ".git") + ".git"
	case scpURL.MatchString(s):
		_, path, _ = strings.Cut(s, ":")
	default:
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "ssh":
			return bad("it is neither OWNER/REPO nor an https or ssh address")
		case u.RawQuery != "" || u.Fragment != "":
			return bad("there is more after its name")
		}
		if _, secret := u.User.Password(); secret || u.Scheme == "https" && u.User != nil {
			return Source{}, hint.Errorf("Leave it out, and sign in by: CALMenu auth login",
				"the address of the repository holds a user or a token, which would stay in the guest's files")
		}
		path = u.Path
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	src.Repo = strings.TrimSuffix(parts[len(parts)-1], ".git")
	src.Owner = "other"
	if len(parts) > 1 {
		src.Owner = parts[len(parts)-2]
	}
	if !repoName.MatchString(src.Repo) || strings.Trim(src.Repo, ".") == "" || strings.EqualFold(src.Repo, ".git") ||
		strings.HasPrefix(src.Repo, "-") {
		return bad("it has no name")
	}
	if !repoName.MatchString(src.Owner) || strings.Trim(src.Owner, ".") == "" {
		src.Owner = "other"
	}
	return src, nil
}

// Clone clones a repository into ~/workspace/REPO, or OWNER-REPO if there is something of that name, and makes a branch
// to work on. A clone that fails leaves nothing.
func Clone(ctx context.Context, g Guest, from string, o CloneOptions, now time.Time) (Cloned, error) {
	src, err := ParseSource(from)
	if err != nil {
		return Cloned{}, err
	}
	fail := func(err error) (Cloned, error) {
		return Cloned{}, fmt.Errorf("cloning %s: %w", clean(src.URL, 200), err)
	}
	branch := o.NewBranch
	if branch == "" {
		branch = o.Prefix + now.UTC().Format(rescueStamp)
	}
	for _, b := range []string{branch, o.Branch} {
		if strings.HasPrefix(b, "-") || strings.ContainsAny(b, " \t\r\n\x00~^:?*[\\") {
			return fail(hint.Errorf("Use letters, digits, points, dashes and slashes.", "%q cannot name a branch", b))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, networkTime)
	defer cancel()
	r, err := g.Output(ctx, guest.Cmd{
		Argv: []string{
			"/bin/sh", "-c", cloneScript, "sh", src.URL, src.Repo, src.Owner + "-" + src.Repo, o.Branch, branch,
		},
		Limit: 1 << 20,
	})
	if err == nil && r.Exit != 0 {
		err = said(r)
	}
	if err != nil {
		return fail(err)
	}
	c := Cloned{URL: src.URL}
	for field := range bytes.SplitSeq(r.Stdout, []byte{0}) {
		if len(field) == 0 {
			continue
		}
		switch f := string(field[1:]); field[0] {
		case 'n':
			c.Repo = f
		case 'b':
			c.Branch = f
		case 'e':
			return fail(signInHint(errors.New(firstLine(f))))
		}
	}
	if c.Repo != src.Repo && c.Repo != src.Owner+"-"+src.Repo || c.Branch != branch {
		return fail(errors.New("the guest's answer is not understood"))
	}
	return c, nil
}
