package github

import (
	"errors"
	"time"
)

// workspaceDir is where repositories are cloned to, outboxDir what is handed out of the guest; in the guest user's home.
const (
	workspaceDir = "workspace"
	outboxDir    = "output"
)

// The errors callers decide on.
var (
	ErrNoRepository  = errors.New("no such repository")
	ErrWhichRepo     = errors.New("there are several repositories")
	ErrDefaultBranch = errors.New("it is the default branch")
	ErrNothing       = errors.New("there is nothing to commit")
	ErrNoRemote      = errors.New("the repository has no remote")
	ErrNotSignedIn   = errors.New("not signed in to GitHub")
	ErrBroadToken    = errors.New("the token is not a fine-grained one")
	ErrNoGH          = errors.New("the guest has no gh")
)

// Status is a repository in ~/workspace, as git status tells it.
type Status struct {
	Name      string `json:"name"` // directory below ~/workspace
	Branch    string `json:"branch,omitempty"`
	Head      string `json:"head,omitempty"` // commit; empty: none yet
	Upstream  string `json:"upstream,omitempty"`
	Ahead     int    `json:"ahead,omitempty"`
	Behind    int    `json:"behind,omitempty"`
	Changed   int    `json:"changed"`
	Untracked int    `json:"untracked"`
	// Default is the default branch as far as it is known, OnDefault whether it is checked out.
	Default   string `json:"default,omitempty"`
	OnDefault bool   `json:"on_default"`
	Problem   string `json:"problem,omitempty"`

	remote string // origin, or the first one; empty: none
}

// Diff is what a commit of everything would take.
type Diff struct {
	Repo  string   `json:"repo"`
	Files []string `json:"files"`      // "M path", "A path", "D path"; the first 1,000
	Count int      `json:"file_count"` // all of them
	Text  string   `json:"text"`       // unified diff, each line cleaned
	// Truncated: Text, or Files, is not all.
	Truncated bool `json:"truncated"`
}

// Committed is a commit that was made.
type Committed struct {
	Repo      string `json:"repo"`
	Branch    string `json:"branch"`
	NewBranch bool   `json:"new_branch"` // made for it, since the default branch was checked out
	Commit    string `json:"commit"`
	Files     int    `json:"files"`
}

// Pushed is a branch that was pushed.
type Pushed struct {
	Repo   string `json:"repo"`
	Branch string `json:"branch"`
	Remote string `json:"remote"`
	Commit string `json:"commit"`
}

// PullOptions say what a pull request is to be.
type PullOptions struct {
	Title string // empty: the first commit's subject
	Body  string
	Base  string // empty: the default branch
	Draft bool
}

// Pull is a pull request.
type Pull struct {
	Repo   string `json:"repo"`
	Branch string `json:"branch"`
	URL    string `json:"url"`
}

// CloneOptions say how a repository is cloned.
type CloneOptions struct {
	Branch string // to start from; empty: the default branch
	// NewBranch is the branch to work on, made from it; Prefix+time if empty.
	NewBranch string
	Prefix    string // of branches made, such as "agent/"
}

// Cloned is a repository that was cloned.
type Cloned struct {
	Repo   string `json:"repo"` // its name below ~/workspace
	URL    string `json:"url"`
	Branch string `json:"branch"`
}

// Account is the guest's state of sign-in, by `gh auth status`.
type Account struct {
	SignedIn bool   `json:"signed_in"`
	User     string `json:"user,omitempty"`
	// Kind of token: "fine-grained", "classic", "oauth", "app", "unknown".
	Kind string `json:"kind,omitempty"`
	// Unknown says why it could not be found out; then SignedIn is false.
	Unknown string `json:"unknown,omitempty"`
}

// Rescued is what Rescue or Bundle saved of a repository.
type Rescued struct {
	Repo    string    `json:"repo"`
	Time    time.Time `json:"time"`
	Branch  string    `json:"branch"`
	Commit  string    `json:"commit"`
	Remote  string    `json:"remote,omitempty"`
	Bundle  string    `json:"bundle,omitempty"` // its name in the guest's ~/output
	SHA256  string    `json:"sha256,omitempty"` // of the bundle, as the guest says
	Parents int       `json:"parents"`          // how many branches, stashes and uncommitted states are in it
	// LeftOut are untracked and ignored files that look like secrets, which are never pushed, and files that could not be
	// read; the first ones.
	LeftOut Files `json:"left_out"`
}
