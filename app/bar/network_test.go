package bar

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/app/menu"
	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/journal"
)

func TestAPersonIsAskedAboutADestination(t *testing.T) {
	b, desk, a := working(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	look := func() state.State {
		t.Helper()
		s, err := a.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b.announceAsks(ctx, s)
		b.tasks.all.Wait()
		return s
	}
	ask := func(id, destination string) {
		t.Helper()
		err := a.Journal.Append(journal.Event{Kind: journal.NetAsked, Workspace: "demo", Op: id, Path: destination})
		if err != nil {
			t.Fatal(err)
		}
	}
	allowed := func() []string {
		t.Helper()
		w, err := a.Workspace("demo")
		if err != nil {
			t.Fatal(err)
		}
		return w.Network.Allow
	}
	look()
	ask("one", "api.invalid:443")
	look()
	look()
	calls := desk.Calls()
	if len(calls.Notifications) != 1 {
		t.Fatalf("asked %d times", len(calls.Notifications))
	}
	var labels []string
	for _, x := range calls.Notifications[0].Actions {
		labels = append(labels, x.Label)
	}
	if want := []string{desktop.AllowOnce, desktop.AlwaysAllow, desktop.Deny}; !slices.Equal(labels, want) {
		t.Errorf("may answer %v", labels)
	}
	shown := calls.Notifications[0].Until
	if end, limited := shown.Deadline(); !limited || time.Until(end) > app.NetAskTime || shown.Err() != nil {
		t.Errorf("it is shown until %v, %v", end, shown.Err())
	}
	calls.Notifications[0].Actions[1].Run()
	b.tasks.all.Wait()
	if got := allowed(); !slices.Equal(got, []string{"api.invalid:443 public"}) {
		t.Errorf("always allowed is %v", got)
	}
	if w, _ := look().Find("demo"); len(w.NetAsks) != 0 {
		t.Errorf("still asked: %v", w.NetAsks)
	}
	if shown.Err() == nil {
		t.Error("the question is shown after the answer")
	}

	// Once and never are no settings; a name that leads into the neighbourhood is not allowed by a click.
	for verb, destination := range map[string]string{menu.NetOnce: "b.invalid:443", menu.NetDeny: "c.invalid:443"} {
		if err := b.act(ctx, menu.Action{Verb: verb, Workspace: "demo", Arg: destination}); err != nil {
			t.Fatal(err)
		}
	}
	b.Do(menu.Action{Verb: menu.NetAllow, Workspace: "demo", Arg: "localhost:443"})
	b.tasks.all.Wait()
	told := desk.Calls().Notifications
	if last := told[len(told)-1]; last.Title != "CALMenu: allowing a connection failed" {
		t.Errorf("a name of the host's was allowed by a click: %+v", last)
	}
	if got := allowed(); len(got) != 1 {
		t.Errorf("allowed is %v", got)
	}
	rules, err := a.NetworkRules(ctx, "demo")
	if err != nil {
		t.Fatal(err)
	}
	var first []string
	for _, r := range rules.Rules[:3] {
		first = append(first, r.Action+" "+r.Destination)
	}
	slices.Sort(first)
	want := []string{"allow api.invalid:443 public", "allow b.invalid:443 public", "deny c.invalid:443"}
	if !slices.Equal(first, want) {
		t.Errorf("the first rules are %v, want %v", first, want)
	}
	for _, step := range []menu.Action{
		{Verb: menu.NetMode, Workspace: "demo", Arg: "off"}, {Verb: menu.NetPolicy, Workspace: "demo", Arg: "ask"},
	} {
		if err := b.act(ctx, step); err != nil {
			t.Fatal(err)
		}
	}
	if w, _ := look().Find("demo"); w.Network.Mode != "off" || w.Network.Tunnel || w.Network.Policy != "ask" {
		t.Errorf("the network is %+v", w.Network)
	}
}
