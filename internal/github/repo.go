package github

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

var (
	//go:embed scripts/status.sh
	statusScript string
	//go:embed scripts/diff.sh
	diffScript string
)

const (
	localTime   = 3 * time.Minute  // for a command that stays in the guest; a commit may run the repository's own hooks
	networkTime = 30 * time.Minute // for one that goes over a slow line
	maxDiff     = 1 << 20          // bytes of a diff that are shown
	maxFiles    = 1000             // names of a diff that are shown
)

// protected are branches nothing is committed or pushed to, whatever the repository says its default branch is.
var protected = []string{"main", "master", "develop", "trunk"}

// Repositories lists the repositories in ~/workspace.
func Repositories(ctx context.Context, g Guest) ([]Status, error) {
	return statuses(ctx, g)
}

// One returns a repository by name; an empty name means the only one there is.
func One(ctx context.Context, g Guest, name string) (Status, error) {
	if name != "" {
		if err := validRepo(name); err != nil {
			return Status{}, err
		}
		list, err := statuses(ctx, g, name)
		if err != nil {
			return Status{}, err
		}
		if len(list) != 1 {
			return Status{}, hint.Wrap(fmt.Errorf("%w: %q", ErrNoRepository, clean(name, 100)),
				"Repositories are the directories of ~/workspace in the guest: CALMenu repos")
		}
		return list[0], nil
	}
	list, err := statuses(ctx, g)
	switch {
	case err != nil:
		return Status{}, err
	case len(list) == 0:
		return Status{}, hint.Wrap(fmt.Errorf("%w in ~/workspace", ErrNoRepository), "Get one: CALMenu clone OWNER/REPO")
	case len(list) > 1:
		var all []string
		for _, s := range list {
			all = append(all, clean(s.Name, 60))
		}
		return Status{}, hint.Wrap(ErrWhichRepo, "Say which: --repo "+strings.Join(all[:min(len(all), 8)], " or --repo "))
	}
	return list[0], nil
}

func validRepo(name string) error {
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: %q is no directory of ~/workspace", ErrNoRepository, clean(name, 100))
	}
	return nil
}

func statuses(ctx context.Context, g Guest, names ...string) ([]Status, error) {
	ctx, cancel := context.WithTimeout(ctx, localTime)
	defer cancel()
	argv := append([]string{"/bin/sh", "-c", statusScript, "sh"}, names...)
	r, err := g.Output(ctx, guest.Cmd{Argv: argv, Limit: 32 << 20})
	if err != nil {
		return nil, fmt.Errorf("asking git for the state of the repositories: %w", err)
	}
	return parseStatus(r.Stdout), nil
}

// parseStatus reads what status.sh printed; a repository that was not told to its end has a Problem.
func parseStatus(out []byte) []Status {
	var list []Status
	var t *treeFacts
	ended := true
	finish := func() {
		if len(list) == 0 || t == nil {
			return
		}
		s := &list[len(list)-1]
		s.Branch, s.Head, s.Upstream = clean(t.Branch, 250), t.Head, clean(t.Upstream, 250)
		s.Changed, s.Untracked = t.Changed.Count+t.Submodules.Count, len(t.untracked)
		s.OnDefault = s.Branch != "" && (s.Branch == s.Default || slices.Contains(protected, s.Branch))
		if !ended && s.Problem == "" {
			s.Problem = "its state was not told to the end"
		}
	}
	fields := bytes.Split(out, []byte{0})
	for _, field := range fields[:len(fields)-1] {
		f := string(field[:min(len(field), maxName)])
		if f == "" {
			continue
		}
		switch body := f[1:]; f[0] {
		case '@':
			finish()
			t, ended = nil, true
			if body != "" {
				list = append(list, Status{Name: body})
				t, ended = &treeFacts{ignored: map[string]bool{}}, false
			}
		case 'd':
			if _, branch, ok := strings.Cut(body, "/"); ok && t != nil {
				list[len(list)-1].Default = clean(branch, 250)
			}
		case 'r':
			if t != nil {
				list[len(list)-1].remote = body
			}
		case 'x':
			ended = true
			if _, problem := ending("status " + body); problem != "" && t != nil {
				list[len(list)-1].Problem = clean(problem, 200)
			}
		case '#':
			if t != nil {
				t.header(strings.TrimPrefix(body, " "))
				if ab, ok := strings.CutPrefix(body, " branch.ab "); ok {
					ahead, behind, _ := strings.Cut(ab, " ")
					list[len(list)-1].Ahead = number(ahead)
					list[len(list)-1].Behind = number(behind)
				}
			}
		case '1', 'u':
			if t != nil {
				t.changed(f)
			}
		case '?':
			if t != nil {
				t.untracked = append(t.untracked, "")
			}
		}
	}
	finish()
	return list
}

// number reads "+3" or "-3" as 3.
func number(s string) int {
	n, err := strconv.Atoi(strings.TrimLeft(s, "+-"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Changes shows what a commit of everything in a repository would take: tracked files with changes and untracked ones.
// Nothing in the repository is changed for that.
func Changes(ctx context.Context, g Guest, name string) (Diff, error) {
	d := Diff{Repo: name}
	if err := validRepo(name); err != nil {
		return d, err
	}
	ctx, cancel := context.WithTimeout(ctx, localTime)
	defer cancel()
	argv := []string{"/bin/sh", "-c", diffScript, "sh", name, strconv.Itoa(maxDiff + 1)}
	r, err := g.Output(ctx, guest.Cmd{Argv: argv, Limit: 32 << 20})
	if err == nil && r.Exit != 0 {
		err = said(r)
	}
	if err == nil {
		err = d.read(r.Stdout)
	}
	if err != nil {
		return d, hint.Wrap(fmt.Errorf("comparing %q with its last commit: %w", clean(name, 100), err),
			"CALMenu shell opens a shell in the guest to look.")
	}
	return d, nil
}

// read takes what diff.sh printed.
func (d *Diff) read(out []byte) error {
	next := func() string {
		field, rest, _ := bytes.Cut(out, []byte{0})
		out = rest
		return string(field[:min(len(field), maxName)])
	}
	switch f := next(); {
	case strings.HasPrefix(f, "e"):
		return errors.New(firstLine(f[1:]))
	case f != "f":
		return errors.New("the guest's answer is not understood")
	}
	for {
		kind := next()
		if kind == "" {
			break
		}
		d.Count++
		if name := next(); len(d.Files) < maxFiles {
			d.Files = append(d.Files, clean(kind, 1)+" "+clean(name, 500))
		}
	}
	if next() != "d" {
		return errors.New("the guest's answer is not understood")
	}
	if d.Truncated = len(out) > maxDiff || d.Count > len(d.Files); len(out) > maxDiff {
		out = out[:maxDiff]
	}
	d.Text = cleanText(string(out))
	return nil
}

// cleanText makes a text of several lines fit for a person; tabs stay.
func cleanText(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		for i, part := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(clean(part, 2000))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// said is a failed command's own words as an error.
func said(r guest.Result) error {
	text := firstLine(string(r.Stderr))
	if text == "" {
		text = firstLine(string(r.Stdout))
	}
	if text == "" {
		text = fmt.Sprintf("it ended with status %d", r.Exit)
	}
	return errors.New(text)
}

// git runs git in a repository of ~/workspace. A status other than 0 is an error.
func git(ctx context.Context, g Guest, repo string, stdin io.Reader, args ...string) (string, error) {
	cmd := guest.Cmd{
		Argv: append([]string{"git", "--no-pager", "-c", "core.fsmonitor=false"}, args...),
		Env:  map[string]string{"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true"},
		Dir:  workspaceDir + "/" + repo, Stdin: stdin, Limit: 1 << 20,
	}
	r, err := g.Output(ctx, cmd)
	if err == nil && r.Exit != 0 {
		err = said(r)
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(r.Stdout), "\n"), nil
}
