package github

import (
	"path"
	"slices"
	"strings"
)

// finish makes repositories of the facts.
func (p *parser) finish() {
	isTree := map[string]bool{}
	for _, t := range p.trees {
		isTree[t.Path] = true
		p.repo(t.repo) // also if nothing was told of it: then that is a problem
	}
	slices.Sort(p.precious) // find meets directories in the order of its file system, which is none
	slices.Sort(p.s.Loose)
	p.sortPrecious(isTree)
	for _, t := range p.trees {
		p.finishTree(t, isTree)
	}
	for _, dir := range p.order {
		r := p.repos[dir]
		p.finishRepo(r)
		p.s.Repos = append(p.s.Repos, r.Repo)
	}
	slices.SortStableFunc(p.s.Repos, func(a, b Repo) int { return strings.Compare(a.Path, b.Path) })
}

func (p *parser) finishTree(t *treeFacts, isTree map[string]bool) {
	for _, name := range t.untracked {
		// A repository in a repository is looked at by itself.
		if dir, ok := strings.CutSuffix(name, "/"); ok && isTree[path.Join(t.Path, dir)] {
			continue
		}
		t.Untracked.add(name)
	}
	switch {
	case t.statusRead && t.closed:
	case t.closed && t.ignoredSeen:
		// Only names of ignored files, which come last, were too many.
	case t.closed:
		t.Problems = append(t.Problems, "it has more changed files than can be listed")
	default:
		t.Problems = append(t.Problems, "looking at it did not come to its end")
	}
	r := p.repo(t.repo)
	t.Linked = t.gitDir != t.repo
	if r.filesAway && t.gitDir == path.Join(t.Path, ".git") {
		t.Problems = append(t.Problems, "its files are elsewhere (core.worktree)")
	}
	r.lastStashes = max(r.lastStashes, t.stashes)
	if !t.Linked {
		r.Path = p.rel(t.Path)
	}
	t.Path = p.rel(t.Path)
	p.shorten(t.Problems)
	r.Trees = append(r.Trees, t.Tree)
}

func (p *parser) finishRepo(r *repoFacts) {
	for _, what := range []string{"refs", "commits"} {
		if !r.read[what] && len(r.Problems) == 0 {
			r.Problems = append(r.Problems, "looking at its "+what+" did not come to its end")
		}
	}
	p.shorten(r.Problems)
	r.Stashes = max(r.Stashes, r.lastStashes)
	for _, gone := range r.missing {
		r.Trees = append(r.Trees, Tree{Path: p.rel(gone), Linked: true, Gone: true})
	}
	slices.SortStableFunc(r.Trees, func(a, b Tree) int {
		switch {
		case a.Linked == b.Linked:
			return strings.Compare(a.Path, b.Path)
		case a.Linked:
			return 1
		}
		return -1
	})
	if r.Path == "" {
		r.Path = p.rel(r.GitDir)
		if dir, ok := strings.CutSuffix(r.Path, "/.git"); ok {
			r.Path = dir
		}
	}
	r.Commits = len(r.commits)
	if r.Commits > maxCommits {
		r.Commits, r.CommitsMore = maxCommits, true
	}
	for _, t := range r.Trees {
		if t.Branch == "" && r.commits[t.Head] {
			r.refs = append(r.refs, ref{"detached HEAD", t.Head})
		}
	}
	for _, x := range r.refs {
		if !r.commits[x.commit] || len(r.Refs) == maxNames {
			continue
		}
		short := x.name
		for _, prefix := range []string{"refs/heads/", "refs/"} {
			if s, ok := strings.CutPrefix(short, prefix); ok {
				short = s
				break
			}
		}
		if !slices.Contains(r.Refs, short) {
			r.Refs = append(r.Refs, short)
		}
	}
}

// shorten writes the home as "~" in messages of git.
func (p *parser) shorten(problems []string) {
	for i, s := range problems {
		if p.s.Home != "" && p.s.Home != "/" {
			problems[i] = strings.ReplaceAll(s, p.s.Home+"/", "~/")
		}
	}
}

// regenerated are directories whose content is installed or built again, however precious its names look.
var regenerated = []string{
	".venv", "venv", "site-packages", "dist-packages", "Pods", "DerivedData", ".terraform", ".tox", "bower_components",
}

// examples are endings of files that show what a precious one looks like.
var examples = []string{".example", ".sample", ".template", ".dist"}

// sortPrecious gives the files that look precious and are ignored to the innermost work tree they are in.
func (p *parser) sortPrecious(isTree map[string]bool) {
	trees := map[string]*treeFacts{}
	for _, t := range p.trees {
		trees[t.Path] = t
	}
	for _, file := range p.precious {
		parts := strings.Split(file, "/")
		if slices.ContainsFunc(parts, func(s string) bool { return slices.Contains(regenerated, s) }) ||
			slices.ContainsFunc(examples, func(s string) bool { return strings.HasSuffix(file, s) }) {
			continue
		}
		for i := len(parts) - 1; i > 0; i-- {
			dir := strings.Join(parts[:i], "/")
			if !isTree[dir] {
				continue
			}
			if t := trees[dir]; t.isIgnored(parts[i:]) {
				t.Precious.add(strings.Join(parts[i:], "/"))
			}
			break
		}
	}
}

func (t *treeFacts) isIgnored(parts []string) bool {
	if t.ignored[strings.Join(parts, "/")] {
		return true
	}
	for i := 1; i < len(parts); i++ {
		if t.ignored[strings.Join(parts[:i], "/")+"/"] {
			return true
		}
	}
	// Not all ignored names were told: this may be one.
	return !t.statusRead && t.ignoredSeen && !slices.Contains(t.untracked, strings.Join(parts, "/"))
}
