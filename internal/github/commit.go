package github

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

// Commit commits everything in a repository: tracked changes and untracked files. On the default branch, and on none, it
// makes a branch first: prefix and the message's first words. The repository's own hooks run, as they do for anybody who
// commits there.
func Commit(ctx context.Context, g Guest, name, message, prefix string, now time.Time) (Committed, error) {
	fail := func(err error) (Committed, error) {
		return Committed{}, fmt.Errorf("committing in %q: %w", clean(name, 100), err)
	}
	if strings.TrimSpace(message) == "" {
		return fail(hint.Errorf("Give one: CALMenu commit -m 'What was done'", "the message is empty"))
	}
	s, err := One(ctx, g, name)
	if err != nil {
		return fail(err)
	}
	name = s.Name
	switch {
	case s.Problem != "":
		return fail(errors.New(s.Problem))
	case s.Changed+s.Untracked == 0:
		return fail(hint.Wrap(ErrNothing, "Everything is committed already. CALMenu push sends it off."))
	}
	ctx, cancel := context.WithTimeout(ctx, localTime)
	defer cancel()
	c := Committed{Repo: name, Branch: s.Branch}
	if s.OnDefault || s.Branch == "" {
		if c.Branch, err = newBranch(ctx, g, name, prefix+slug(message, now)); err != nil {
			return fail(err)
		}
		c.NewBranch = true
	}
	if _, err := git(ctx, g, name, nil, "add", "-A"); err != nil {
		return fail(err)
	}
	args := []string{"commit", "-q", "-F", "-"}
	if email, err := git(ctx, g, name, nil, "config", "user.email"); err != nil || email == "" {
		args = append([]string{"-c", "user.name=CALMenu agent", "-c", "user.email=agent@calmenu.invalid"}, args...)
	}
	if _, err := git(ctx, g, name, strings.NewReader(message+"\n"), args...); err != nil {
		return fail(hint.Wrap(err, "The changes are staged in the guest; CALMenu shell opens a shell there."))
	}
	if c.Commit, err = git(ctx, g, name, nil, "rev-parse", "--verify", "HEAD"); err != nil {
		return fail(err)
	}
	files, err := git(ctx, g, name, nil, "show", "--format=", "--name-only", "--no-renames", "-z", "-m", "--first-parent", "HEAD")
	if err != nil && !errors.Is(err, guest.ErrLimit) {
		return fail(err)
	}
	c.Commit, c.Files = clean(c.Commit, 64), strings.Count(files, "\x00")
	return c, nil
}

// newBranch makes a branch and checks it out; if the name is taken, with a number after it.
func newBranch(ctx context.Context, g Guest, repo, want string) (string, error) {
	name := want
	for n := 2; ; n++ {
		if _, err := git(ctx, g, repo, nil, "rev-parse", "-q", "--verify", "refs/heads/"+name); err != nil {
			break
		}
		if n > 50 {
			return "", fmt.Errorf("there are too many branches named like %q", want)
		}
		name = fmt.Sprintf("%s-%d", want, n)
	}
	if _, err := git(ctx, g, repo, nil, "checkout", "-q", "-b", name); err != nil {
		return "", fmt.Errorf("making branch %q: %w", name, err)
	}
	return name, nil
}

// slug makes the end of a branch's name of a message's first line: its first words, or the time if it has none.
func slug(message string, now time.Time) string {
	first, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	var b strings.Builder
	dash := false
	for _, r := range strings.ToLower(first) {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			dash = b.Len() > 0
			continue
		}
		if dash {
			if b.Len() > 32 {
				break
			}
			b.WriteByte('-')
			dash = false
		}
		if b.Len() < 48 {
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 {
		return now.UTC().Format(rescueStamp)
	}
	return b.String()
}

// Push pushes a repository's branch to the branch of the same name on its remote, and has it follow that one. A default
// branch is refused, by what the remote itself says is its default; nothing is ever forced.
func Push(ctx context.Context, g Guest, name string) (Pushed, error) {
	fail := func(err error) (Pushed, error) {
		return Pushed{}, fmt.Errorf("pushing %q: %w", clean(name, 100), err)
	}
	s, err := One(ctx, g, name)
	if err != nil {
		return fail(err)
	}
	name = s.Name
	const onOwnBranch = "Commit to a branch of its own: CALMenu commit makes one."
	switch {
	case s.Problem != "":
		return fail(errors.New(s.Problem))
	case s.Branch == "":
		return fail(hint.Errorf(onOwnBranch, "no branch is checked out"))
	case s.OnDefault:
		return fail(hint.Wrap(fmt.Errorf("branch %q is refused: %w", s.Branch, ErrDefaultBranch), onOwnBranch))
	case s.Head == "":
		return fail(hint.Errorf("Commit first: CALMenu commit", "nothing is committed yet"))
	}
	ctx, cancel := context.WithTimeout(ctx, networkTime)
	defer cancel()
	remote := pushRemote(ctx, g, s)
	if remote == "" {
		return fail(hint.Wrap(ErrNoRemote, "Add one in the guest: git remote add origin URL"))
	}
	head, err := git(ctx, g, name, nil, "ls-remote", "--symref", "--", remote, "HEAD")
	if err != nil {
		return fail(signInHint(err))
	}
	for line := range strings.Lines(head) {
		if ref, ok := strings.CutPrefix(line, "ref: refs/heads/"); ok {
			if branch, _, _ := strings.Cut(ref, "\t"); branch == s.Branch {
				return fail(hint.Wrap(fmt.Errorf("branch %q is refused: %w", s.Branch, ErrDefaultBranch), onOwnBranch))
			}
		}
	}
	ref := "refs/heads/" + s.Branch
	if _, err := git(ctx, g, name, nil, "push", "-q", "--set-upstream", "--no-force", "--", remote, ref+":"+ref); err != nil {
		return fail(signInHint(err))
	}
	return Pushed{Repo: name, Branch: s.Branch, Remote: remote, Commit: s.Head}, nil
}

// pushRemote is the remote git itself would push a branch to.
func pushRemote(ctx context.Context, g Guest, s Status) string {
	for _, key := range []string{"branch." + s.Branch + ".pushRemote", "remote.pushDefault", "branch." + s.Branch + ".remote"} {
		r, err := git(ctx, g, s.Name, nil, "config", "--get", key)
		if err != nil || r == "" || r == "." || strings.HasPrefix(r, "-") {
			continue
		}
		return r
	}
	return s.remote
}

// signInHint attaches what to do to an error of a remote.
func signInHint(err error) error {
	text := err.Error()
	for _, sign := range []string{"could not read Username", "Authentication failed", "403", "Permission denied", "not found"} {
		if strings.Contains(text, sign) {
			return hint.Wrap(err, "Sign in with a token that may write there: CALMenu auth login")
		}
	}
	return hint.Wrap(err, "Look at the repository in the guest: CALMenu shell")
}
