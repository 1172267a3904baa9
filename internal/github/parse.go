package github

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The survey's output is a row of fields, each ended by a NUL byte. A field that begins with "@" begins a record:
//
//	@H home                          @c git directory: its references follow
//	@t work tree, git directory, repository's git directory: its status follows
//	@w missing work tree, repository's git directory
//	@p file that looks precious      @l file in ~/workspace in no repository
//	@b file beside a bare repository that is in no work tree
//	@e path, what is wrong with it   @E what was not looked at
//	@m a repository too many         @f find's exit status      @z number of files in no repository; the end
//
// The other fields belong to the last @c or @t; their first character says what they are.
const (
	maxCommits = 2000    // so many commits on no remote are counted
	maxLoose   = 200     // so many files in no repository are named
	maxName    = 8 << 10 // longer names and messages are cut
	maxStderr  = 4 << 10
)

type parser struct {
	s       Survey
	repos   map[string]*repoFacts // by git directory
	order   []string
	cur     *repoFacts
	tree    *treeFacts
	trees   []*treeFacts
	listed  int  // files of ~/workspace named by the guest
	missed  bool // find could not look everywhere
	ended   bool
	strange bool // something that is none of the above
	// precious are files that look so, wherever they are.
	precious []string
}

// repoFacts are what one @c told.
type repoFacts struct {
	Repo
	refs        []ref
	commits     map[string]bool
	read        map[string]bool // which of refs and commits came to their end
	filesAway   bool            // core.worktree names another directory
	missing     []string        // work trees
	lastStashes int
}

type ref struct{ name, commit string }

// treeFacts are what one @t told.
type treeFacts struct {
	Tree
	gitDir, repo string
	untracked    []string
	ignored      map[string]bool // files, and directories with "/" at the end
	ignoredSeen  bool
	unborn       bool
	stashes      int
	statusRead   bool // its status came to its end
	closed       bool // the record did
}

// Parse makes a survey of what the script in the guest printed. cut says that the output may not be all, stderr is what
// was complained about.
func Parse(out, stderr []byte, cut bool) Survey {
	p := &parser{repos: map[string]*repoFacts{}}
	fields := bytes.Split(out, []byte{0})
	// What follows the last NUL byte was cut off.
	p.fields(fields[:len(fields)-1])
	if !p.ended || cut {
		p.unknown("the look through the home did not come to its end")
	}
	if p.strange {
		p.unknown("the guest's answer is not understood")
	}
	complaints := strings.Split(strings.TrimSpace(string(stderr[:min(len(stderr), maxStderr)])), "\n")
	slices.Sort(complaints) // find meets directories in no order
	for _, c := range complaints {
		if c != "" {
			p.missed = false
			p.unknown(c)
		}
	}
	if p.missed {
		p.unknown("not every directory could be looked into")
	}
	p.finish()
	return p.s
}

func (p *parser) unknown(reason string) {
	p.s.Unknown = true
	if len(p.s.Reasons) < maxNames && !slices.Contains(p.s.Reasons, reason) {
		p.s.Reasons = append(p.s.Reasons, reason)
	}
}

func (p *parser) fields(all [][]byte) {
	next := func() string {
		if len(all) == 0 {
			return ""
		}
		f := all[0]
		all = all[1:]
		return string(f[:min(len(f), maxName)])
	}
	for len(all) > 0 {
		raw := all[0]
		f := next()
		if len(f) > 1 && f[0] == '@' {
			p.record(f[1], f[2:], next)
			continue
		}
		switch {
		case p.tree != nil:
			p.treeField(f)
		case p.cur != nil:
			p.repoField(f, raw)
		case strings.TrimSpace(f) != "":
			p.strange = true
		}
	}
}

func (p *parser) record(kind byte, f string, next func() string) {
	p.cur, p.tree = nil, nil
	switch kind {
	case 'H':
		p.s.Home = f
	case 'c':
		p.cur = p.repo(f)
	case 't':
		p.tree = &treeFacts{Tree: Tree{Path: f}, gitDir: next(), repo: next(), ignored: map[string]bool{}}
		p.trees = append(p.trees, p.tree)
	case 'w':
		gone := f
		r := p.repo(next())
		r.missing = append(r.missing, gone)
	case 'p':
		p.precious = append(p.precious, f)
	case 'l', 'b':
		if kind == 'l' {
			p.listed++
		}
		if len(p.s.Loose) < maxLoose {
			p.s.Loose = append(p.s.Loose, p.rel(f))
		} else {
			p.s.LooseMore++
		}
	case 'e':
		p.s.Repos = append(p.s.Repos, Repo{Path: p.rel(f), GitDir: f, Problems: []string{next()}})
	case 'E':
		p.unknown(f)
	case 'm':
		p.unknown("there are more repositories than are looked at")
	case 'f':
		p.missed = f != "0"
	case 'z':
		n, err := strconv.Atoi(f)
		p.ended, p.strange = true, p.strange || err != nil || n < 0
		p.s.LooseMore += max(0, n-p.listed)
	default:
		p.strange = true
	}
}

func (p *parser) repo(dir string) *repoFacts {
	r := p.repos[dir]
	if r == nil {
		r = &repoFacts{Repo: Repo{GitDir: dir}, commits: map[string]bool{}, read: map[string]bool{}}
		p.repos[dir] = r
		p.order = append(p.order, dir)
	}
	return r
}

// rel is a path relative to the home if it is in there.
func (p *parser) rel(file string) string {
	if r, ok := strings.CutPrefix(file, strings.TrimSuffix(p.s.Home, "/")+"/"); ok && p.s.Home != "" {
		return r
	}
	return file
}

func (p *parser) repoField(f string, raw []byte) {
	r := p.cur
	f = strings.TrimPrefix(f, "\n")
	if f == "" {
		return
	}
	switch body := f[1:]; f[0] {
	case 'r':
		key, value, _ := strings.Cut(body, " ")
		r.setting(key, value)
	case '&':
		if words := strings.SplitN(body, " ", 3); len(words) == 3 {
			c := words[0]
			if words[1] != "" {
				c = words[1] // what an annotated tag is of
			}
			r.refs = append(r.refs, ref{words[2], c})
			if words[2] == "refs/stash" {
				r.Stashes = 1 // at least; a work tree's status knows better
			}
		}
	case '%':
		for line := range strings.Lines(string(raw[1:])) {
			if line != "\n" && len(r.commits) <= maxCommits {
				r.commits[strings.TrimSuffix(line, "\n")] = true
			}
		}
	case 'x':
		what, problem := ending(body)
		r.read[what] = true
		if problem != "" && !slices.Contains(r.Problems, problem) {
			r.Problems = append(r.Problems, problem)
		}
	default:
		p.strange = true
	}
}

// ending reads how a git command ended, "what status message", and returns what is wrong with that.
func ending(body string) (what, problem string) {
	what, rest, _ := strings.Cut(body, " ")
	code, message, _ := strings.Cut(rest, " ")
	message, _, _ = strings.Cut(strings.TrimSpace(message), "\n")
	for _, prefix := range []string{"fatal: ", "error: ", "warning: "} {
		message = strings.TrimPrefix(message, prefix)
	}
	switch {
	case message != "":
		return what, message
	case code != "0":
		return what, "git ended with status " + code
	}
	return what, ""
}

func (r *repoFacts) setting(key, value string) {
	switch {
	case key == "core.bare":
		r.Bare = value == "true"
	case key == "core.worktree":
		r.filesAway = true
	case strings.HasPrefix(key, "remote.") && strings.HasSuffix(key, ".url"):
		name := strings.TrimSuffix(strings.TrimPrefix(key, "remote."), ".url")
		r.Remotes = append(r.Remotes, Remote{Name: name, URL: redact(value), Local: isLocal(value)})
	}
}

// redact takes user and password out of a URL: some keep a token there.
func redact(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		if scheme, rest, ok := strings.Cut(s, "://"); ok {
			if i := strings.LastIndexByte(rest, '@'); i >= 0 {
				return scheme + "://" + rest[i+1:]
			}
		}
		return s
	}
	if u.User == nil || u.Host == "" {
		return s
	}
	u.User = nil
	return u.String()
}

// isLocal tells whether a remote is in the guest as well; the script in the guest has the same rule.
func isLocal(s string) bool {
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(host, '@'); i >= 0 {
			host = host[i+1:]
		}
		return scheme == "file" || host == "localhost" || strings.HasPrefix(host, "localhost:") ||
			strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "[::1]")
	}
	switch {
	case strings.HasPrefix(s, "/"), strings.HasPrefix(s, "./"), strings.HasPrefix(s, "../"), strings.HasPrefix(s, "~"),
		strings.HasPrefix(s, "file:"), strings.HasPrefix(s, "ext::"), strings.HasPrefix(s, "fd::"):
		return true
	}
	host, _, remote := strings.Cut(s, ":")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return !remote || host == "localhost" || strings.HasPrefix(host, "127.")
}

func (p *parser) treeField(f string) {
	t := p.tree
	if f == "" {
		return
	}
	switch body := f[1:]; f[0] {
	case '#':
		t.header(strings.TrimPrefix(body, " "))
	case '1', 'u':
		t.changed(f)
	case '?':
		t.untracked = append(t.untracked, strings.TrimPrefix(body, " "))
	case '!':
		t.ignored[strings.TrimPrefix(body, " ")] = true
		t.ignoredSeen = true
	case 'o':
		t.Operation = body
	case 'h':
		t.Hidden.add(body)
	case 'x':
		_, problem := ending(body)
		t.statusRead = true
		if problem != "" {
			t.Problems = append(t.Problems, problem)
		}
	case '.':
		t.closed = true
	default:
		p.strange = true
	}
}

func (t *treeFacts) header(h string) {
	key, value, _ := strings.Cut(h, " ")
	switch key {
	case "branch.oid":
		if t.unborn = value == "(initial)"; !t.unborn {
			t.Head = value
		}
	case "branch.head":
		if value != "(detached)" {
			t.Branch = value
		}
	case "branch.upstream":
		t.Upstream = value
	case "stash":
		if n, err := strconv.Atoi(value); err == nil && n > 0 {
			t.stashes = n
		}
	}
}

// changed reads a line of porcelain v2: "1 XY sub mH mI mW hH hI path", "u XY sub m1 m2 m3 mW h1 h2 h3 path".
func (t *treeFacts) changed(f string) {
	n := 9
	if f[0] == 'u' {
		n = 11
	}
	words := strings.SplitN(f, " ", n)
	name := words[len(words)-1]
	if len(words) == n && strings.HasPrefix(words[2], "S") {
		t.Submodules.add(name)
		return
	}
	t.Changed.add(name)
}
