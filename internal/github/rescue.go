package github

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
)

//go:embed scripts/rescue.sh
var rescueScript string

const (
	rescueTime  = 10 * time.Minute // for a push over a slow line
	rescueLimit = 8 << 20
	rescueStamp = "20060102-150405"
)

// Rescue pushes everything at risk of a repository to the branch PREFIXrescue-<time> on its remote: uncommitted files
// of all its work trees, stashes, and every commit that remote lacks, all as parents of one commit. Work trees, branches
// and the index stay as they are. Files that look like secrets and are not tracked are not pushed (Rescued.LeftOut). The
// repository's own hooks are not run. It is done when the remote says that it has the commit.
func Rescue(ctx context.Context, g Guest, home string, r Repo, prefix string, now time.Time) (Rescued, error) {
	var remotes []string
	for _, x := range r.Remotes {
		switch {
		case x.Local:
		case x.Name == "origin":
			remotes = append([]string{x.Name}, remotes...)
		default:
			remotes = append(remotes, x.Name)
		}
	}
	if len(remotes) == 0 {
		return Rescued{}, hint.Wrap(fmt.Errorf("rescuing %q: %w", clean(r.Path, 100), ErrNoRemote),
			"A bundle saves it without one: CALMenu risk --bundle")
	}
	return rescue(ctx, g, "push", home, r, prefix, "", remotes, now)
}

// Bundle writes everything of a repository (all branches and tags, and a branch that holds what Rescue would push) to one
// file in the guest's outbox, from where it comes to the host. Ignored files that look precious are in it: it goes to
// nobody else. `git clone FILE` makes a repository of it. It was verified by git; once it has landed, see CheckBundle.
func Bundle(ctx context.Context, g Guest, home string, r Repo, prefix string, now time.Time) (Rescued, error) {
	name := unfit.ReplaceAllString(base(strings.TrimSuffix(r.Path, ".git")), "-")
	name = strings.Trim(name, "-.")
	if name == "" {
		name = "repository"
	}
	file := fmt.Sprintf("%.60s-rescue-%s.bundle", name, now.UTC().Format(rescueStamp))
	return rescue(ctx, g, "bundle", home, r, prefix, file, nil, now)
}

var unfit = lazyre.New(`[^A-Za-z0-9._-]+`)

// base is the last part of a path.
func base(name string) string {
	name = strings.TrimRight(name, "/")
	return name[strings.LastIndexByte(name, '/')+1:]
}

func rescue(
	ctx context.Context, g Guest, mode, home string, r Repo, prefix, file string, remotes []string, now time.Time,
) (Rescued, error) {
	out := Rescued{
		Repo: r.Path, Time: now, Branch: prefix + "rescue-" + now.UTC().Format(rescueStamp), Bundle: file,
	}
	fail := func(err error) (Rescued, error) {
		return out, hint.Wrap(fmt.Errorf("rescuing %q: %w", clean(r.Path, 100), err),
			"Nothing in the repository was changed. CALMenu shell opens a shell in the guest to look.")
	}
	path := r.Path
	if !strings.HasPrefix(path, "/") {
		path = strings.TrimSuffix(home, "/") + "/" + path
	}
	ctx, cancel := context.WithTimeout(ctx, rescueTime)
	defer cancel()
	argv := append([]string{"/bin/sh", "-c", rescueScript, "sh", mode, path, out.Branch, file}, remotes...)
	res, err := g.Output(ctx, guest.Cmd{Argv: argv, Limit: rescueLimit})
	if err != nil {
		return fail(err)
	}
	if err := out.read(res.Stdout); err != nil {
		return fail(err)
	}
	return out, nil
}

// read takes what the script printed.
func (r *Rescued) read(b []byte) error {
	fields := bytes.Split(b, []byte{0})
	inList := false
	for _, field := range fields[:len(fields)-1] {
		f := string(field[:min(len(field), maxName)])
		switch {
		case inList && f == "":
			inList = false
		case inList:
			r.LeftOut.add(f)
		case f == "":
		case f == "L":
			inList = true
		case f == ".":
			if r.Commit == "" {
				return errors.New("the guest's answer is not understood")
			}
			return nil
		case f[0] == 'c':
			r.Commit = clean(f[1:], 64)
		case f[0] == 'p':
			r.Parents, _ = strconv.Atoi(f[1:])
		case f[0] == 'r':
			r.Remote = f[1:]
		case f[0] == 's':
			r.SHA256 = clean(f[1:], 64)
		case f[0] == 'w':
			r.LeftOut.add(firstLine(f[1:]))
		case f[0] == 'e':
			return errors.New(firstLine(f[1:]))
		}
	}
	return errors.New("it did not come to its end")
}

// firstLine is the first line of what git said that has words, fit for a person.
func firstLine(s string) string {
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		for _, prefix := range []string{"fatal: ", "error: ", "warning: ", "remote: "} {
			line = strings.TrimPrefix(line, prefix)
		}
		if line != "" {
			return clean(line, 200)
		}
	}
	return ""
}
