package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Policy says how long snapshots stay that were taken by themselves. A zero leaves that limit out.
type Policy struct {
	SessionKeep    int           // the newest session snapshots that stay
	SessionMaxAge  time.Duration // the newest one stays whatever its age: a session goes on that began with it
	PeriodicKeep   int           // periodic snapshots that stay: the older, the further apart
	PeriodicMaxAge time.Duration
	UndoKeep       int   // the newest undo snapshots that stay
	MaxTotalBytes  int64 // of all snapshots; the oldest automatic ones go until the rest fit
}

// Removal is a snapshot that goes, and why.
type Removal struct {
	Snapshot Snapshot `json:"snapshot"`
	Reason   string   `json:"reason"` // such as "older than 7 days"
}

// Frees sums what the removals free, in bytes, as far as the driver can tell.
func Frees(plan []Removal) (sum int64) {
	for _, r := range plan {
		sum += r.Snapshot.SizeBytes
	}
	return sum
}

// Plan returns which snapshots of a list (newest first) a policy lets go at a time, newest first within each rule. It
// changes nothing: a dry run and a real one are the same plan. Manual snapshots and kept ones never go.
func Plan(list []Snapshot, p Policy, now time.Time) []Removal {
	g := &going{list: list, why: map[string]string{}}
	sessions := g.of(Session)
	for i, s := range sessions {
		switch {
		case i == 0:
		case p.SessionKeep > 0 && i >= p.SessionKeep:
			g.goes(s, fmt.Sprintf("beyond the newest %d of sessions", p.SessionKeep))
		case p.SessionMaxAge > 0 && now.Sub(s.Created) > p.SessionMaxAge:
			g.goes(s, "older than "+span(p.SessionMaxAge))
		}
	}
	for _, s := range g.of(Periodic) {
		if p.PeriodicMaxAge > 0 && now.Sub(s.Created) > p.PeriodicMaxAge {
			g.goes(s, "older than "+span(p.PeriodicMaxAge))
		}
	}
	if p.PeriodicKeep > 0 {
		for _, s := range thin(g.of(Periodic), p.PeriodicKeep, now) {
			g.goes(s, fmt.Sprintf("beyond the %d periodic ones that are kept", p.PeriodicKeep))
		}
	}
	if p.UndoKeep > 0 {
		for i, s := range g.of(Undo) {
			if i >= p.UndoKeep {
				g.goes(s, fmt.Sprintf("beyond the newest %d undos", p.UndoKeep))
			}
		}
	}
	g.fit(p.MaxTotalBytes)
	return g.plan()
}

// going is a plan in the making.
type going struct {
	list []Snapshot
	why  map[string]string // by identifier
}

// of returns the snapshots of a kind that rules apply to and that do not go yet, newest first.
func (g *going) of(k Kind) []Snapshot {
	var all []Snapshot
	for _, s := range g.list {
		if _, gone := g.why[s.ID]; s.Kind == k && !s.Kept && !gone {
			all = append(all, s)
		}
	}
	return all
}

func (g *going) goes(s Snapshot, why string) { g.why[s.ID] = why }

// fit lets the oldest automatic snapshots go until the rest hold no more than that. The newest of a session and the
// newest undo stay: they are what a person may need next. One that frees nothing would go in vain.
func (g *going) fit(most int64) {
	if most <= 0 {
		return
	}
	var total int64
	for _, s := range g.list {
		if _, gone := g.why[s.ID]; !gone {
			total += s.SizeBytes
		}
	}
	needed := map[string]bool{}
	for _, k := range []Kind{Session, Undo} {
		if all := g.of(k); len(all) > 0 {
			needed[all[0].ID] = true
		}
	}
	for _, s := range slices.Backward(g.list) {
		if total <= most {
			return
		}
		_, gone := g.why[s.ID]
		if gone || needed[s.ID] || s.Kept || !s.Kind.Automatic() || s.SizeBytes <= 0 {
			continue
		}
		g.goes(s, "over the limit of "+humanize.IBytes(uint64(most)))
		total -= s.SizeBytes
	}
}

func (g *going) plan() []Removal {
	var plan []Removal
	for _, s := range g.list {
		if why, gone := g.why[s.ID]; gone {
			plan = append(plan, Removal{Snapshot: s, Reason: why})
		}
	}
	return plan
}

// thin returns which of the snapshots (newest first) go so that keep of them are left, the older the further apart: again
// and again that one goes whose going leaves the smallest gap for its age. The newest stays, and the oldest while there
// is more than one.
func thin(list []Snapshot, keep int, now time.Time) []Snapshot {
	left := slices.Clone(list)
	var gone []Snapshot
	for len(left) > keep {
		drop := len(left) - 1
		smallest := -1.0
		for i := 1; i < len(left)-1 && keep > 1; i++ {
			age := max(now.Sub(left[i].Created), time.Second)
			gap := left[i-1].Created.Sub(left[i+1].Created)
			if r := gap.Seconds() / age.Seconds(); smallest < 0 || r < smallest {
				smallest, drop = r, i
			}
		}
		gone = append(gone, left[drop])
		left = slices.Delete(left, drop, drop+1)
	}
	return gone
}

// Selection is what a person asks to have pruned, instead of what the policy says. All of it must apply to a snapshot
// for it to go.
type Selection struct {
	Kinds     []Kind        // empty: the automatic ones. Manual snapshots go only if they are named here
	OlderThan time.Duration // 0: of any age
	Keep      int           // the newest of each kind that stay; 0 keeps none
}

// Select returns which snapshots of a list (newest first) a person's selection lets go. The newest of a session and
// those somebody has named stay; they can be deleted one by one.
func Select(list []Snapshot, sel Selection, now time.Time) []Removal {
	g := &going{list: list, why: map[string]string{}}
	kinds := sel.Kinds
	if len(kinds) == 0 {
		kinds = []Kind{Session, Periodic, Undo}
	}
	for _, k := range kinds {
		var why []string
		keep := sel.Keep
		if k == Session {
			keep = max(keep, 1)
		}
		if keep > 0 {
			why = append(why, fmt.Sprintf("beyond the newest %d %s ones", keep, k))
		}
		if sel.OlderThan > 0 {
			why = append(why, "older than "+span(sel.OlderThan))
		}
		if len(why) == 0 {
			why = []string{fmt.Sprintf("all %s ones go", k)}
		}
		for i, s := range g.of(k) {
			if i >= keep && (sel.OlderThan <= 0 || now.Sub(s.Created) > sel.OlderThan) {
				g.goes(s, strings.Join(why, ", "))
			}
		}
	}
	return g.plan()
}

// span writes a duration as people say it.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d >= day && d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return d.String()
}
