package github_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/github"
	"github.com/calmenu/calmenu/internal/hint"
)

// servers gives the sandbox a git server: https://git.example/NAME.git are directories outside the home.
func servers(s *sandbox) {
	s.sh(`mkdir "$TMPDIR/srv"
git config --global url."$TMPDIR/srv/".insteadOf https://git.example/
git config --global user.name Keeper
git config --global user.email keeper@zoo.example
git config --global init.defaultBranch main
git config --global advice.detachedHead false
git init -q --bare "$TMPDIR/srv/app.git"
git clone -q https://git.example/app.git workspace/app 2>&1
cd workspace/app
echo one >file && echo two >second && printf '.env\nsecret/\n' >.gitignore
git add . && git commit -q -m first && git push -q origin main && git remote set-head origin main`)
}

var rescueNow = time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)

// everything is a repository with each kind of work at risk; fingerprint is what a rescue must not change of it.
const everything = `cd workspace/app
git checkout -q -b agent/other && echo o >>file && git commit -q -a -m on-other && git checkout -q main
echo s1 >>file && git stash -q && echo s2 >>file && git stash -q
git worktree add -q --detach "$HOME/side" && (cd "$HOME/side" && echo side >>file && git commit -q -a -m on-side && echo x >side-new)
echo staged >third && git add third && echo later >third
echo x >>file && echo x >'new
file' && echo key >.env && mkdir secret && echo k >secret/a.pem && echo p >'id_rsa'
git update-index --assume-unchanged second && echo hidden >>second`

const fingerprint = `cd workspace/app
git for-each-ref
git rev-parse HEAD
git status --porcelain -z | tr '\0' '|'
cksum .git/index
ls -A .git
cd "$HOME/side" && git status --porcelain && cksum ../workspace/app/.git/worktrees/side/index`

func surveyOf(t *testing.T, s *sandbox) github.Survey {
	t.Helper()
	survey, err := github.LookThrough(t.Context(), s, github.SurveyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return survey
}

func TestRescue(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	s.sh(everything)
	before := s.sh(fingerprint)
	survey := surveyOf(t, s)
	r, err := github.Rescue(t.Context(), s, survey.Home, survey.Repos[0], "agent/", rescueNow)
	if err != nil {
		t.Fatal(err, hint.Of(err))
	}
	left := []string{".env", "id_rsa", "secret/a.pem"}
	slices.Sort(r.LeftOut.Names)
	if r.Branch != "agent/rescue-20260117-143000" || r.Remote != "origin" || !cmp.Equal(left, r.LeftOut.Names) {
		t.Errorf("rescued %+v", r)
	}
	after := s.sh(`cd workspace/app && git update-ref -d refs/remotes/origin/agent/rescue-20260117-143000; cd; ` + fingerprint)
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the repository was changed (-before +after):\n%s", d)
	}
	got := s.sh(`git clone -q -b agent/rescue-20260117-143000 https://git.example/app.git saved && cd saved
cat file second third 'new
file' && ls -A && git log --format=%s | sort | uniq
for p in $(git rev-list --parents -1 HEAD); do git show "$p:third" 2>/dev/null || true; git show "$p:side-new" 2>/dev/null || true; done
git log --all -m -p --format= | grep -c '^[+]s[12]$'`)
	for _, want := range []string{
		"one\nx\ntwo\nhidden\nlater\nx\n", "\nfirst\n", "\non-other\n", "\non-side\n", "\nWIP on main", "\nstaged\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in what was saved:\n%s", want, got)
		}
	}
	for _, never := range []string{".env", "id_rsa\n", "a.pem"} {
		if strings.Contains(s.sh(`cd saved && git log -m --all --name-only --format=`), never) {
			t.Errorf("%s was pushed", never)
		}
	}
	// What is on the remote now is not at risk any more.
	s.sh(`cd workspace/app && git fetch -q`)
	if repo := surveyOf(t, s).Repos[0]; repo.Commits != 0 {
		t.Errorf("%d commits are still on no remote", repo.Commits)
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	s.sh(everything)
	before := s.sh(fingerprint)
	survey := surveyOf(t, s)
	r, err := github.Bundle(t.Context(), s, survey.Home, survey.Repos[0], "agent/", rescueNow)
	if err != nil {
		t.Fatal(err, hint.Of(err))
	}
	if r.Bundle != "app-rescue-20260117-143000.bundle" || r.LeftOut.Count != 0 {
		t.Errorf("bundled %+v", r)
	}
	if d := cmp.Diff(before, s.sh(fingerprint)); d != "" {
		t.Errorf("the repository was changed (-before +after):\n%s", d)
	}
	checkBundle(t, s, r)
	got := s.sh(`git clone -q -b agent/rescue-20260117-143000 output/` + r.Bundle + ` saved && cd saved
cat file .env secret/a.pem id_rsa && git log --all --format=%s | sort | uniq; git branch -r`)
	for _, want := range []string{"one\nx\nkey\nk\np\n", "\non-other\n", "\non-side\n", "\nWIP on main", "origin/agent/other"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in what was saved:\n%s", want, got)
		}
	}
}

func TestRescueOfTheOdd(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	for name, c := range map[string]struct{ build, want string }{
		"unborn":  {`git init -q odd && cd odd && echo x >file`, "file"},
		"bare":    {`git clone -q --bare "$TMPDIR/srv/app.git" odd && cd odd && git fetch -q . main:agent/x`, ""},
		"nested":  {`git init -q odd && cd odd && echo x >file && git init -q inner && echo y >inner/file`, "file"},
		"nothing": {`git init -q odd`, ""},
		"merging": {
			`git clone -q "$TMPDIR/srv/app.git" odd && cd odd && git checkout -q -b a && echo a >file && git commit -q -a -m a &&
git checkout -q main && echo b >file && git commit -q -a -m b && ! git merge -q a >/dev/null 2>&1`,
			".gitignore\nfile\nsecond",
		},
	} {
		s.sh(`cd workspace && rm -rf odd && ` + c.build)
		s.sh(`cd workspace/odd && git config remote.origin.url https://git.example/odd.git && rm -rf "$TMPDIR/srv/odd.git" &&
git init -q --bare "$TMPDIR/srv/odd.git"`)
		survey := surveyOf(t, s)
		for _, r := range survey.Repos {
			if r.Path != "workspace/odd" {
				continue
			}
			got, err := github.Rescue(t.Context(), s, survey.Home, r, "agent/", rescueNow)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if files := s.sh(`git -C "$TMPDIR/srv/odd.git" ls-tree --name-only "$1"`, got.Branch); c.want != "" && files != c.want {
				t.Errorf("%s: saved files %q, want %q", name, files, c.want)
			}
		}
	}
	s.sh(`cd workspace && rm -rf odd && git clone -q "$TMPDIR/srv/app.git" odd && rm -rf "$TMPDIR/srv/odd.git"`)
	survey := surveyOf(t, s)
	for _, r := range survey.Repos {
		if r.Path != "workspace/odd" {
			continue
		}
		_, err := github.Rescue(t.Context(), s, survey.Home, r, "agent/", rescueNow)
		if !errors.Is(err, github.ErrNoRemote) || hint.Of(err) == "" {
			t.Errorf("a remote in the guest: %v", err)
		}
		r.Remotes = []github.Remote{{Name: "elsewhere", URL: "https://git.example/odd.git"}}
		_, err = github.Rescue(t.Context(), s, survey.Home, r, "agent/", rescueNow)
		if err == nil || !strings.Contains(err.Error(), "pushing to elsewhere failed") {
			t.Errorf("a remote that is gone: %v", err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.home, "workspace/*/.git/calmenu*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// checkBundle holds CheckBundle to a bundle that is whole, and to ones that are not.
func checkBundle(t *testing.T, s *sandbox, r github.Rescued) {
	t.Helper()
	file := filepath.Join(s.home, "output", r.Bundle)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(whole)); sum != r.SHA256 {
		t.Errorf("the guest says %q of what has %q", r.SHA256, sum)
	}
	if err := github.CheckBundle(file, r); err != nil {
		t.Error(err)
	}
	other := r
	other.Commit = strings.Repeat("0", 40)
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, c := range map[string]struct {
		content []byte
		r       github.Rescued
		want    string
	}{
		"another commit": {whole, other, "is not in it"},
		"cut":            {whole[:len(whole)-1], r, "not whole"},
		"no pack":        {whole[:bytes.Index(whole, []byte("\n\n"))+2], r, "no pack"},
		"no header":      {[]byte("# v2 git bundle\n"), r, "does not begin"},
		"damaged":        {flipped, r, "not whole"},
		"something else": {[]byte("MZ\n\n"), r, "no bundle"},
		"not all of it": {
			bytes.Replace(whole, []byte("bundle\n"), []byte("bundle\n-"+r.Commit+" first\n"), 1), r, "not complete",
		},
	} {
		if err := os.WriteFile(file+".bad", c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := github.CheckBundle(file+".bad", c.r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := os.Remove(file + ".bad"); err != nil {
		t.Fatal(err)
	}
}

// A server that says it took what it did not have is not believed.
func TestRescueIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	servers(s)
	s.sh(`cd workspace/app && echo x >>file
printf '#!/bin/sh\nwhile read -r old new ref; do git update-ref -d "$ref"; done\n' >"$TMPDIR/srv/app.git/hooks/post-receive"
chmod +x "$TMPDIR/srv/app.git/hooks/post-receive"`)
	survey := surveyOf(t, s)
	_, err := github.Rescue(t.Context(), s, survey.Home, survey.Repos[0], "agent/", rescueNow)
	if err == nil || !strings.Contains(err.Error(), "origin does not have what was pushed") {
		t.Errorf("a remote that forgets: %v", err)
	}
}
