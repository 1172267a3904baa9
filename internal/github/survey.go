package github

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Survey is what would be lost with a guest's home.
type Survey struct {
	Time time.Time `json:"time"` // when it began, by the host's clock
	Home string    `json:"home"` // the guest user's home
	// Repos are all repositories in the home, also those without work at risk.
	Repos []Repo `json:"repos"`
	// Loose are files and directories in ~/workspace that are in no repository, relative to the home; the first ones.
	Loose     []string `json:"loose,omitempty"`
	LooseMore int      `json:"loose_more,omitempty"` // how many more there are at least
	// Unknown says that something could not be found out, Reasons what.
	Unknown bool     `json:"unknown"`
	Reasons []string `json:"reasons,omitempty"`
}

// Repo is one repository with all its work trees.
type Repo struct {
	// Path is the main work tree, the bare repository, or a submodule's git directory nothing is checked out of.
	// Relative to the home if it is in there.
	Path    string   `json:"path"`
	GitDir  string   `json:"git_dir"` // absolute
	Bare    bool     `json:"bare,omitempty"`
	Remotes []Remote `json:"remotes,omitempty"`
	Trees   []Tree   `json:"trees,omitempty"`
	Stashes int      `json:"stashes,omitempty"`
	// Commits is how many commits no remote is known to have; CommitsMore: there are more than that.
	Commits     int      `json:"commits,omitempty"`
	CommitsMore bool     `json:"commits_more,omitempty"`
	Refs        []string `json:"refs,omitempty"` // short names of what leads to these commits; the first ones
	// Problems say what could not be read of it.
	Problems []string `json:"problems,omitempty"`
}

// Remote is where a repository is pushed to.
type Remote struct {
	Name string `json:"name"`
	URL  string `json:"url"` // without user and password
	// Local remotes are in the guest as well, and lost with it.
	Local bool `json:"local,omitempty"`
}

// Tree is one work tree.
type Tree struct {
	Path     string `json:"path"` // as Repo.Path
	Linked   bool   `json:"linked,omitempty"`
	Branch   string `json:"branch,omitempty"` // empty: detached
	Head     string `json:"head,omitempty"`   // commit; empty: no commit yet
	Upstream string `json:"upstream,omitempty"`
	// Operation is what was begun and is not finished: "rebase", "merge", "cherry-pick", "revert", "bisect", "am".
	Operation string `json:"operation,omitempty"`
	Changed   Files  `json:"changed"`   // tracked files with changes, staged or not, conflicts included
	Untracked Files  `json:"untracked"` // neither tracked nor ignored
	// Precious are ignored files that look as if nothing could bring them back: .env, keys, local databases.
	Precious Files `json:"precious"`
	// Hidden are files git was told not to look at (assume-unchanged, skip-worktree): whether they changed is unknown.
	Hidden     Files `json:"hidden"`
	Submodules Files `json:"submodules"` // submodules with changes of their own, or at another commit
	// Gone: the directory is missing, git would prune it.
	Gone     bool     `json:"gone,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

// Files are a number of files and the first of their names, relative to the work tree.
type Files struct {
	Count int      `json:"count"`
	Names []string `json:"names,omitempty"`
}

// maxNames is how many names of a kind are kept.
const maxNames = 20

func (f *Files) add(name string) {
	f.Count++
	if len(f.Names) < maxNames {
		f.Names = append(f.Names, name)
	}
}

// AtRisk tells whether anything would be lost, or may be.
func (s Survey) AtRisk() bool {
	if s.Unknown || len(s.Loose) > 0 || s.LooseMore > 0 {
		return true
	}
	for _, r := range s.Repos {
		if r.AtRisk() {
			return true
		}
	}
	return false
}

// AtRisk tells whether anything of the repository would be lost, or may be.
func (r Repo) AtRisk() bool { return len(r.losses()) > 0 }

// AtRiskRepos are the repositories with work at risk.
func (s Survey) AtRiskRepos() []Repo {
	var risky []Repo
	for _, r := range s.Repos {
		if r.AtRisk() {
			risky = append(risky, r)
		}
	}
	return risky
}

// Lines tells a person what would be lost: one line per repository, then what is in none, then what is unknown. They are
// safe to print.
func (s Survey) Lines() []string {
	lines := s.Losses()
	for _, r := range s.Reasons {
		lines = append(lines, "unknown: "+clean(r, 300))
	}
	if s.Unknown && len(s.Reasons) == 0 {
		lines = append(lines, "unknown: it was not looked")
	}
	return lines
}

// Losses are the Lines of what is known.
func (s Survey) Losses() []string {
	var lines []string
	for _, r := range s.Repos {
		if losses := r.losses(); len(losses) > 0 {
			lines = append(lines, clean(s.title(r.Path), 200)+": "+strings.Join(losses, ", "))
		}
	}
	if n := len(s.Loose) + s.LooseMore; n > 0 {
		lines = append(lines, fmt.Sprintf("in no repository: %s", names(s.Loose, n)))
	}
	return lines
}

// Capped are the first lines, so many at most, and how many more there are.
func Capped(lines []string, most int) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clone(lines[:most]), fmt.Sprintf("and %d more", len(lines)-most))
}

// Unsaved tells, as Lines does, what a rescue of this repository could not save: what git itself cannot read.
func (r Repo) Unsaved() []string {
	var all []string
	for _, l := range r.losses() {
		if strings.HasPrefix(l, unreadable) {
			all = append(all, l)
		}
	}
	return all
}

// unreadable begins what is said of what git could not read.
const unreadable = "unreadable: "

// title is what a repository is called: by its name alone where that is where one expects it.
func (s Survey) title(path string) string {
	if name, ok := strings.CutPrefix(path, workspaceDir+"/"); ok {
		return name
	}
	if path == "" || strings.HasPrefix(path, "/") {
		return path
	}
	return "~/" + path
}

// losses are what would be lost of a repository, in words.
func (r Repo) losses() []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, t := range r.Trees {
		for _, l := range t.losses() {
			if t.Linked {
				l += " in work tree " + clean(t.Path, 100)
			}
			all = append(all, l)
		}
	}
	if r.Stashes > 0 {
		say("%s", count(r.Stashes, "stash", "stashes"))
	}
	if r.Commits > 0 {
		where := ""
		if len(r.Refs) > 0 {
			where = " (" + names(r.Refs, len(r.Refs)) + ")"
		}
		n := count(r.Commits, "commit", "commits")
		if r.CommitsMore {
			n = "more than " + n
		}
		on := "on no remote"
		if len(r.Remotes) == 0 {
			on = "and no remote at all"
		}
		say("%s %s%s", n, on, where)
	}
	for _, p := range r.Problems {
		if p = unreadable + clean(p, 200); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

func (t Tree) losses() []string {
	var all []string
	say := func(f Files, one, many string, show bool) {
		if f.Count == 0 {
			return
		}
		text := count(f.Count, one, many)
		if show {
			text += " (" + names(f.Names, f.Count) + ")"
		}
		all = append(all, text)
	}
	if t.Operation != "" {
		all = append(all, "unfinished "+t.Operation)
	}
	say(t.Changed, "uncommitted file", "uncommitted files", false)
	say(t.Untracked, "untracked file", "untracked files", false)
	say(t.Precious, "ignored file", "ignored files", true)
	say(t.Hidden, "file git does not look at", "files git does not look at", true)
	say(t.Submodules, "changed submodule", "changed submodules", true)
	for _, p := range t.Problems {
		all = append(all, unreadable+clean(p, 200))
	}
	return all
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// names lists the first names of n.
func names(list []string, n int) string {
	shown := make([]string, 0, 3)
	for _, s := range list[:min(len(list), 3)] {
		shown = append(shown, clean(s, 60))
	}
	text := strings.Join(shown, ", ")
	switch more := n - len(shown); {
	case text == "":
		return fmt.Sprint(n)
	case more > 0:
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
