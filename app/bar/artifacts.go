package bar

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/hint"
	outbox "github.com/calmenu/calmenu/internal/sync"
)

// How what lands is announced: soon, and as one for what comes together. A guest that puts out something every few
// seconds is told of every few seconds, not each time.
const (
	burstQuiet   = 300 * time.Millisecond // after the last that landed
	burstLongest = 2 * time.Second        // for quiet, in a burst that does not end
	burstApart   = 15 * time.Second       // between two notifications about one workspace
)

// bursts gathers what lands, for each workspace, until it is time to tell.
type bursts struct {
	tell func(w *config.Workspace, r outbox.Report)

	mu  sync.Mutex // guards what follows
	all map[string]*burst
}

type burst struct {
	w     *config.Workspace
	r     outbox.Report
	begun time.Time
	told  time.Time
	timer *time.Timer // nil: nothing is gathered
}

// add takes what has landed or was refused. It does not wait.
func (b *bursts) add(w *config.Workspace, r outbox.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[string]*burst{}
	}
	now := time.Now()
	x := b.all[w.Name]
	if x == nil {
		x = &burst{}
		b.all[w.Name] = x
	}
	if x.timer == nil {
		x.begun = now
	}
	x.w = w
	x.r.Landed = append(x.r.Landed, r.Landed...)
	x.r.Refused = append(x.r.Refused, r.Refused...)
	x.r.Bytes += r.Bytes
	wait := min(burstQuiet, x.begun.Add(burstLongest).Sub(now))
	wait = max(wait, x.told.Add(burstApart).Sub(now), 0)
	if x.timer != nil {
		x.timer.Reset(wait)
		return
	}
	x.timer = time.AfterFunc(wait, func() { b.due(w.Name) })
}

// due tells of what was gathered.
func (b *bursts) due(name string) {
	b.mu.Lock()
	x := b.all[name]
	w, r := x.w, x.r
	x.r, x.timer, x.told = outbox.Report{}, nil, time.Now()
	b.mu.Unlock()
	if len(r.Landed)+len(r.Refused) > 0 {
		b.tell(w, r)
	}
}

// landed has what landed and what was refused announced, with what comes right after it.
func (b *Agent) landed(w *config.Workspace, r outbox.Report) {
	r.Landed = slices.DeleteFunc(slices.Clone(r.Landed), func(a outbox.Artifact) bool {
		return len(a.Warnings) == 0 && !config.MatchName(w.Output.WatchPatterns, a.Name)
	})
	r.Bytes = 0
	for _, a := range r.Landed {
		r.Bytes += a.Size
	}
	if len(r.Landed)+len(r.Refused) > 0 {
		b.bursts.add(w, r)
	}
}

// shownNames is how many names a notification has room for.
const shownNames = 3

// announce tells of one burst: what landed, with what of it would run by itself, and what did not land. Clicking reveals
// the first of it.
func (b *Agent) announce(w *config.Workspace, r outbox.Report) {
	if len(r.Landed) > 0 {
		first := r.Landed[0].Path
		reveal := func() { b.Do(menu.Action{Verb: menu.Reveal, Workspace: w.Name, Arg: first}) }
		what, body := landedText(r)
		b.notify(desktop.Notification{
			Title: what + " from " + w.Name, Body: body, OnClick: reveal,
			Actions: []desktop.Action{{Label: desktop.Reveal, Run: reveal}},
		})
	}
	if n := len(r.Refused); n > 0 {
		body := fmt.Sprintf("%s: %s: %s", w.Name, r.Refused[0].Name, r.Refused[0].Reason)
		if n > 1 {
			body += fmt.Sprintf("; and %d more", n-1)
		}
		b.notify(desktop.Notification{Title: artifacts(n) + " refused", Body: body})
	}
}

// artifacts says whether it is one.
func artifacts(n int) string {
	if n == 1 {
		return "Artifact"
	}
	return "Artifacts"
}

// landedText names what landed and its size, and what would run by itself.
func landedText(r outbox.Report) (what, text string) {
	var names, warnings []string
	for _, a := range r.Landed {
		name := filepath.Base(a.Path)
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		if len(a.Warnings) > 0 {
			warnings = append(warnings, said(name+" "+a.Warnings[0]))
		}
	}
	text = strings.Join(names[:min(len(names), shownNames)], ", ")
	if more := len(names) - shownNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(names) == 1 {
		text += fmt.Sprintf(" (%s)", size(r.Bytes))
	} else {
		text += fmt.Sprintf(", %s in all", size(r.Bytes))
	}
	if len(warnings) > 0 {
		text += "\nCareful: " + strings.Join(warnings[:min(len(warnings), 2)], "; ")
		if more := len(warnings) - 2; more > 0 {
			text += fmt.Sprintf("; and %d more", more)
		}
	}
	return artifacts(len(names)), text
}

func (b *Agent) hookFailed(w *config.Workspace, f app.HookFailure) {
	b.notify(desktop.Notification{
		Title: "Hook failed", Body: strings.TrimSpace(said(w.Name+": "+f.Error()) + "\n" + hint.Of(f.Err)),
	})
}

func (b *Agent) outboxFailed(w *config.Workspace, err error) {
	b.notify(desktop.Notification{
		Title: "Artifacts of " + w.Name + " do not land", Body: strings.TrimSpace(err.Error() + "\n" + hint.Of(err)),
	})
}

// sign asks who signs an artifact, and with which profile where it needs one, and signs it.
func (b *Agent) sign(ctx context.Context, workspace, path string) error {
	d, x, err := b.app.DescribeArtifact(ctx, workspace, path)
	if err != nil {
		return err
	}
	all, err := b.app.Identities(ctx)
	if err != nil {
		return err
	}
	var choices []string
	for _, i := range all {
		choices = append(choices, i.Name)
	}
	if len(choices) == 0 {
		return hint.Errorf("Make a certificate in Xcode (Settings > Accounts), or unlock the keychain that holds it.",
			"signing %s: no keychain holds a valid identity", x.Name)
	}
	what := filepath.Base(x.Path)
	if d.BundleID != "" {
		what += fmt.Sprintf(" (%s, version %s)", d.BundleID, d.Version)
	}
	ans, err := b.ask(ctx, desktop.Question{
		Kind: desktop.List, Title: "Sign " + filepath.Base(x.Path), Text: "Who signs " + what + "?", Choices: choices,
	})
	if err != nil {
		return err
	}
	o := app.SignOptions{Identity: all[ans.Choice].Hash}
	if d.NeedsProfile() {
		ans, err := b.ask(ctx, desktop.Question{
			Kind: desktop.Entry, Title: "Sign " + filepath.Base(x.Path),
			Text: "Provisioning profile: its file, or the name or UUID of one that Xcode has.",
		})
		if err != nil {
			return err
		}
		o.Profile = strings.TrimSpace(ans.Text)
	}
	s, err := b.app.Sign(ctx, workspace, path, o, nil, nil)
	if err != nil {
		return err
	}
	reveal := func() { b.Do(menu.Action{Verb: menu.Reveal, Workspace: workspace, Arg: s.Artifact.Path}) }
	b.notify(desktop.Notification{
		Title: "Signed " + filepath.Base(x.Path), Body: filepath.Base(s.Artifact.Path) + ", by " + s.Identity.Name, OnClick: reveal,
		Actions: []desktop.Action{{Label: desktop.Reveal, Run: reveal}},
	})
	return nil
}

func size(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }
