package session

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/internal/vm"
)

// flows are the conversations behind the hotkeys. Each returns what it did in one line, or errBack.
type flows struct {
	*dialog
	do Actions
}

func (f flows) snapshot() (string, error) {
	name, err := f.input("Snapshot", []string{"Name of the snapshot. Empty: one is made up from the time."}, true)
	if err != nil {
		return "", err
	}
	return f.snapshotNamed(name)
}

func (f flows) snapshotNamed(name string) (string, error) {
	return work(f.dialog, "Snapshot", func(ctx context.Context, report vm.Progress) (string, error) {
		return f.do.Snapshot(ctx, name, report)
	})
}

func (f flows) commit() (string, error) {
	r, err := f.repository("Commit in", "Nothing to commit: no file is changed.", func(r Repository) bool { return r.Dirty })
	if err != nil {
		return "", err
	}
	return f.commitIn(r)
}

// commitIn shows what a commit would take, asks for the message, and commits.
func (f flows) commitIn(r Repository) (string, error) {
	diff, err := load(f.dialog, "Reading the changes", func(ctx context.Context) (string, error) {
		return f.do.Diff(ctx, r.Name)
	})
	if err != nil {
		return "", err
	}
	if err := f.pager("Commit in "+repositoryText(r), diff); err != nil {
		return "", err
	}
	message, err := f.input("Commit in "+repositoryText(r), []string{"Message:"}, false)
	if err != nil {
		return "", err
	}
	return work(f.dialog, "Committing", func(ctx context.Context, report vm.Progress) (string, error) {
		return f.do.Commit(ctx, r.Name, message, report)
	})
}

func (f flows) pushIn(r Repository) (string, error) {
	return work(f.dialog, "Pushing "+flat(r.Name), func(ctx context.Context, report vm.Progress) (string, error) {
		return f.do.Push(ctx, r.Name, report)
	})
}

func (f flows) pullRequest() (string, error) {
	r, err := f.repository("Pull request from", noRepository, nil)
	if err != nil {
		return "", err
	}
	lines := []string{"Title of the pull request:"}
	if r.Dirty {
		lines = append([]string{"Changed files that are not committed will not be in it."}, lines...)
	}
	title, err := f.input("Pull request from "+repositoryText(r), lines, false)
	if err != nil {
		return "", err
	}
	return work(f.dialog, "Pull request", func(ctx context.Context, report vm.Progress) (string, error) {
		return f.do.PullRequest(ctx, r.Name, title, report)
	})
}

// nothing is what there is to say if there is nothing to do.
type nothing string

func (n nothing) Error() string { return string(n) }

const noRepository = "There is no repository in ~/workspace."

// repository returns the one repository that is wanted, or lets the person choose.
func (f flows) repository(title, none string, wanted func(Repository) bool) (Repository, error) {
	all, err := load(f.dialog, "Looking at the repositories", f.do.Repositories)
	if err != nil {
		return Repository{}, err
	}
	if len(all) == 0 {
		return Repository{}, nothing(noRepository)
	}
	var fit []Repository
	var items []string
	for _, r := range all {
		if wanted == nil || wanted(r) {
			fit = append(fit, r)
			items = append(items, repositoryText(r)+"  "+flat(r.Summary))
		}
	}
	switch len(fit) {
	case 0:
		return Repository{}, nothing(none)
	case 1:
		return fit[0], nil
	}
	i, err := f.list(title, items, listKeys)
	if err != nil {
		return Repository{}, err
	}
	return fit[i], nil
}

const listKeys = "↑↓:Choose  Enter:Take  Esc:Back"

func repositoryText(r Repository) string {
	if r.Branch == "" {
		return flat(r.Name)
	}
	return fmt.Sprintf("%s (%s)", flat(r.Name), flat(r.Branch))
}

func (f flows) rollback() (string, error) {
	all, err := load(f.dialog, "Looking at the snapshots", f.do.Snapshots)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", nothing("There is no snapshot to go back to.")
	}
	items := make([]string, len(all))
	for i, s := range all {
		items[i] = snapshotText(s, time.Now())
	}
	i, err := f.list("Roll back to", items, listKeys)
	if err != nil {
		return "", err
	}
	lines := append([]string{items[i], ""}, f.preview(all[i].ID)...)
	lines = append(append(lines, ""), riskLines(f.risk(), "would be lost, unless it is in the snapshot")...)
	lines = append(lines, "", "What the VM holds now is kept as the undo.")
	if err := f.confirm("Roll back", lines, "Roll back?", false); err != nil {
		return "", err
	}
	return work(f.dialog, "Rolling back", func(ctx context.Context, report vm.Progress) (string, error) {
		return f.do.Rollback(ctx, all[i].ID, report)
	})
}

func snapshotText(s SnapshotRow, now time.Time) string {
	text := fmt.Sprintf("%s  %s, %s", flat(s.Name), flat(s.Kind), humanize.RelTime(s.Created, now, "ago", "from now"))
	if s.Bytes > 0 {
		text += ", " + humanize.Bytes(uint64(s.Bytes))
	}
	if s.Warm {
		text += ", resumes"
	}
	return text
}

// preview asks what going back would undo. Who cannot be asked keeps nobody from it.
func (f flows) preview(id string) []string {
	_, columns := f.size()
	lines, err := load(f.dialog, "Looking at what changed", func(ctx context.Context) ([]string, error) {
		return f.do.Preview(ctx, id, columns)
	})
	if err != nil {
		return []string{"What changed since is not known: " + flat(err.Error())}
	}
	for i, l := range lines {
		lines[i] = flat(l)
	}
	return lines
}

// risk asks what would be lost; what cannot be told is at risk.
func (f flows) risk() Risk {
	r, err := load(f.dialog, "Looking for work at risk", f.do.RollbackRisk)
	if err != nil {
		r.Unknown = err.Error()
	}
	return r
}

// riskLines is a risk for people.
func riskLines(r Risk, consequence string) []string {
	if r.None() {
		return []string{"No work in the guest is at risk: all of it is committed and pushed."}
	}
	lines := []string{"This work exists in the VM alone and " + consequence + ":"}
	for _, s := range r.Lines {
		lines = append(lines, "• "+flat(s))
	}
	if r.Unknown != "" {
		lines = append(lines, "? It could not all be looked at: "+flat(r.Unknown))
	}
	return lines
}

// stop asks, and stops the VM.
func (f flows) stop() error {
	lines := append(riskLines(f.risk(), "stays in it"), "", "The agent and everything else that runs in the VM ends.")
	if err := f.confirm("Stop the VM", lines, "Stop the VM?", false); err != nil {
		return err
	}
	_, err := work(f.dialog, "Stopping the VM", func(ctx context.Context, report vm.Progress) (struct{}, error) {
		return struct{}{}, f.do.Stop(ctx, report)
	})
	return err
}

// agent lets the person choose an agent and returns its identifier.
func (f flows) agent() (string, error) {
	all, err := load(f.dialog, "Looking at the agents", f.do.Agents)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", nothing("There is no other agent.")
	}
	row, err := f.agentOf(all)
	if err != nil {
		return "", err
	}
	if row.Current {
		return "", nothing(flat(row.Name) + " is the agent here already.")
	}
	return row.ID, nil
}

func (d *dialog) agentOf(all []AgentRow) (AgentRow, error) {
	items := make([]string, len(all))
	for i, a := range all {
		items[i] = agentText(a)
	}
	i, err := d.list("Agent", items, listKeys)
	if err != nil {
		return AgentRow{}, err
	}
	return all[i], nil
}

func agentText(a AgentRow) string {
	s := flat(a.Name)
	switch {
	case a.Absent:
		s += "  not installed yet"
	case a.Auth != "":
		s += "  " + authText(a.Auth)
	}
	if a.Running {
		s += ", at work"
	}
	if a.Current {
		s += ", this one"
	}
	return s
}

// authText says how an account stands; what is not known is not said to be known.
func authText(auth string) string {
	if auth == AuthSignedIn || auth == AuthSignedOut {
		return auth
	}
	return "sign-in unknown"
}
