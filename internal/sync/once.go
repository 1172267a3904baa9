package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/heap"
	"github.com/calmenu/calmenu/internal/hint"
)

// maxTries is how often one pass tries to receive something that keeps changing.
const maxTries = 2

// maxRefusals bounds what one report says about refusals.
const maxRefusals = 1000

// lockRetry is how often a lock that another process holds is tried.
const lockRetry = 20 * time.Millisecond

// Once brings in what the guest has put into its outbox since the last pass, of this process or another, and returns
// what it did. Progress, unless nil, is called from one goroutine: when it has to wait for another pass, at most every 100 ms
// of a transfer, and at its end. On an error the report tells what had landed by then.
func Once(ctx context.Context, t Transport, o Options, progress func(Progress)) (Report, error) {
	e, err := open(t, o, progress)
	if err != nil {
		return Report{}, err
	}
	defer e.close()
	return e.pass(ctx, e.list)
}

// key names one content of one name.
type key struct{ name, source string }

// engine is one outbox, over one transport.
type engine struct {
	t        Transport
	o        Options
	dest     *os.Root
	lock     *flock.Flock
	manifest manifest
	progress func(Progress)

	used     usage
	measured time.Time // when used was counted, not just added to
	last     Listing   // as of the last pass
}

// fetchItems bounds what is asked of a transport at a time, and so what is held of what is on its way. Where there is more,
// memory is collected early.
const fetchItems = 6000

// remeasure is how long a count of the destination is good for.
const remeasure = 30 * time.Second

func open(t Transport, o Options, progress func(Progress)) (*engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(o.Dest, 0o755), os.MkdirAll(o.State, 0o700)); err != nil {
		return nil, onHost(err)
	}
	dest, err := os.OpenRoot(o.Dest)
	if err != nil {
		return nil, onHost(err)
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	return &engine{
		t: t, o: o, dest: dest, progress: progress,
		lock:     flock.New(filepath.Join(o.State, "lock"), flock.SetPermissions(0o600)),
		manifest: newManifest(o),
	}, nil
}

func (e *engine) close() {
	_ = e.lock.Close()
	_ = e.dest.Close()
}

func (e *engine) list(ctx context.Context) (l Listing, live bool, err error) {
	l, err = e.t.List(ctx)
	return l, false, err
}

// pass goes through the pipeline once. list lists the outbox; if it is live, what changes meanwhile is told by itself,
// and left to the next pass.
func (e *engine) pass(
	ctx context.Context, list func(context.Context) (l Listing, live bool, err error),
) (report Report, err error) {
	start := time.Now()
	defer func() {
		report.Duration = time.Since(start)
		slices.SortFunc(report.Landed, func(a, b Artifact) int { return strings.Compare(a.Name, b.Name) })
	}()
	ok, err := e.lock.TryLock()
	if err == nil && !ok {
		e.progress(Progress{Waiting: true})
		ok, err = e.lock.TryLockContext(ctx, lockRetry)
	}
	if err != nil || !ok {
		return report, fmt.Errorf("waiting for another pass over the outbox: %w", err)
	}
	defer func() { err = errors.Join(err, e.lock.Unlock()) }()
	// The guest lists while the host reads what it remembers.
	listed := make(chan error, 1)
	var live bool
	go func() {
		var err error
		e.last, live, err = list(ctx)
		listed <- err
	}()
	err = onHost(e.remembered())
	if err = errors.Join(<-listed, err); err != nil {
		return report, err
	}
	if err := tidyStaging(e.dest); err != nil { // after a pass that was killed
		return report, onHost(err)
	}
	p := &pass{
		engine: e, report: &report, meter: newMeter(e.progress), tries: map[string]int{}, settled: map[key]verdict{},
		large: map[key]bool{},
	}
	defer p.meter.over()
	for {
		l := e.last
		e.last = Listing{Root: l.Root} // what a plan has been made of is of no use any more
		again, err := p.round(ctx, l)
		for err != nil && p.withoutLarge(err) {
			again, err = p.round(ctx, l)
		}
		if err != nil {
			return report, err
		}
		if !again || live {
			break
		}
		if e.last, live, err = list(ctx); err != nil {
			return report, err
		}
	}
	if report.Waiting == 0 {
		_ = e.dest.RemoveAll(stagingDir) // nothing is going on from there
	}
	report.Refused, report.New, err = e.remember(p.refused)
	return report, errors.Join(err, onHost(p.full))
}

// remembered brings the manifest up to date with what others did, and with what became of the host since.
func (e *engine) remembered() error {
	if err := e.manifest.refresh(func() error { return flushNames(e.o.Dest, nil) }); err != nil {
		return err
	}
	return errors.Join(e.recover(), e.manifest.settle(e.holds))
}

// pass is one under way.
type pass struct {
	*engine
	report  *Report
	refused []Refusal
	meter   *meter
	tries   map[string]int
	settled map[key]verdict // what is not tried again
	byHost  []Refusal       // of what has settled
	seen    int             // of this round: content that had landed before, from another source
	todo    []Item          // of this round
	large   map[key]bool    // what the host's disk has no room for
	full    error           // that it has none
}

// round plans and fetches once. It reports whether something changed meanwhile and is worth another look.
func (p *pass) round(ctx context.Context, l Listing) (again bool, err error) {
	pl, err := p.plan(l)
	if err != nil {
		return false, err
	}
	p.report.Unchanged = max(pl.Unchanged-len(p.report.Landed), 0)
	p.refused = append(pl.Refused, p.byHost...)
	p.report.Waiting = len(pl.Waiting)
	todo := slices.DeleteFunc(pl.Fetch, func(it Item) bool {
		if p.large[key{it.Name, it.Source}] {
			return true
		}
		v, settled := p.settled[key{it.Name, it.Source}]
		tired := p.tries[it.Name] >= maxTries
		if v == busy || tired && !settled {
			p.report.Waiting++
		}
		return settled || tired
	})
	if p.todo = todo; len(todo) == 0 {
		return false, nil
	}
	p.meter.expect(todo)
	for _, it := range todo {
		p.tries[it.Name]++
	}
	if len(todo) > fetchItems {
		defer heap.Frugal()()
	}
	p.report.Landed = slices.Grow(p.report.Landed, len(todo))
	for some := range slices.Chunk(todo, fetchItems) {
		p.seen = 0
		items, err := p.fetch(ctx, some)
		p.report.Unchanged += p.seen
		if err != nil {
			return false, err
		}
		again = p.settle(items) || again
	}
	return again, nil
}

// settle takes note of what became of items. It reports whether one has changed meanwhile.
func (p *pass) settle(items []staged) (again bool) {
	for _, s := range items {
		k := key{s.Name, s.Source}
		switch s.verdict {
		case changed:
			again = true
			p.report.Waiting++
		case busy:
			p.settled[k] = busy
			p.report.Waiting++
		case refused:
			p.settled[k] = refused
			no := Refusal{Name: display(s.Name), Reason: s.reason}
			p.byHost, p.refused = append(p.byHost, no), append(p.refused, no)
		}
	}
	return again
}

// plan plans with what is known now. The destination is measured only when there is something to fetch, and what is
// recorded of it does not leave ample room.
func (e *engine) plan(l Listing) (plan, error) {
	known := e.manifest.known
	if time.Since(e.measured) > remeasure {
		used, sure := e.manifest.usage()
		p := makePlan(l, known, used, e.o)
		if len(p.Fetch) == 0 && !p.Tight {
			return p, nil
		}
		for _, it := range p.Fetch {
			used.Files += it.names()
			used.Bytes += it.Size
		}
		if sure && !p.Tight && used.Files < e.o.Limits.MaxFiles/5*4 && used.Bytes < e.o.Limits.MaxTotal/5*4 {
			return p, nil
		}
		used, err := measure(e.dest)
		if err != nil {
			return plan{}, onHost(err)
		}
		e.used, e.measured = used, time.Now()
	}
	return makePlan(l, known, e.used, e.o), nil
}

// fetch receives items and lands those that are whole.
func (p *pass) fetch(ctx context.Context, todo []Item) ([]staged, error) {
	if err := p.dest.Mkdir(stagingDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, onHost(err)
	}
	defer func() { _ = tidyStaging(p.dest) }()
	dir, err := p.dest.OpenRoot(stagingDir)
	if err != nil {
		return nil, onHost(err)
	}
	defer dir.Close()
	ld, err := p.newLander(ctx)
	if err != nil {
		return nil, onHost(err)
	}
	defer ld.close()
	into := newStaging(ctx, dir, p.o, todo, p.meter.tell, func(batch []*staged) error { return p.land(ld, batch) })
	defer into.close()
	if err = p.t.Fetch(ctx, todo, into); errors.Is(err, errHost) {
		into.stage.abandon()
	} else {
		err = errors.Join(err, into.flush())
	}
	return into.items, onHost(err)
}

// land gives received items their names and records them. What it is about to do is noted first, so that a process
// that is killed meanwhile leaves nothing on the host that the next does not know.
func (p *pass) land(ld *lander, batch []*staged) error {
	lines := make([]line, len(batch))
	for i, s := range batch {
		a := ld.artifact(s, p.manifest.known[s.Name])
		lines[i] = line{Event: eventLanded, Time: a.LandedAt, Source: s.Source, Artifact: &a}
	}
	if err := p.manifest.intend(lines); err != nil {
		return atHost(err)
	}
	landed := lines[:0]
	var failed error
	for i, s := range batch {
		l := lines[i]
		ok, err := p.landOne(ld, s, &l)
		if err != nil {
			failed = atHost(err)
			break
		}
		if ok {
			landed = append(landed, l)
		}
	}
	b := ld.built()
	for i := range landed {
		if l := &landed[i]; l.Event == eventLanded {
			if b != (Build{}) {
				l.Repository, l.Commit, l.text = b.Repository, b.Commit, nil
			}
			p.report.Landed = append(p.report.Landed, *l.Artifact)
		}
	}
	if err := errors.Join(p.manifest.append(landed...), p.manifest.intend(nil)); err != nil {
		failed = errors.Join(failed, atHost(err))
	}
	return failed
}

// landOne lands an item and makes its line what happened. It returns false for what is refused after all.
func (p *pass) landOne(ld *lander, s *staged, l *line) (bool, error) {
	before := p.manifest.known[s.Name]
	a, same, err := ld.land(s, *l.Artifact, before)
	var no refusal
	switch {
	case errors.As(err, &no):
		s.verdict, s.reason = refused, no.Error()
		return false, nil
	case err != nil:
		return false, fmt.Errorf("landing %s: %w", display(s.Name), err)
	}
	if a.Version != l.Version {
		l.text = nil
	}
	if same && before.SHA256 == a.SHA256 {
		l.Event, l.text = eventSeen, nil
		p.seen++
	} else {
		p.report.Bytes += a.Size
		p.used.Files += s.names()
		p.used.Bytes += a.Size
	}
	l.Artifact = &a
	return true, nil
}

// remember records refusals that are not in the manifest, and returns what of them a report has room for, and which of these
// it has recorded.
func (e *engine) remember(refused []Refusal) (told, fresh []Refusal, err error) {
	if more := len(refused) - maxRefusals; more > 0 {
		refused = append(slices.Clone(refused[:maxRefusals]), Refusal{
			Name: fmt.Sprintf("%d others", more), Reason: "for reasons like these",
		})
	}
	var lines []line
	for _, r := range refused {
		if !e.manifest.refused[r] {
			fresh = append(fresh, r)
			lines = append(lines, line{Event: eventRefused, Time: e.o.Now().UTC(), Entry: r.Name, Reason: r.Reason})
		}
	}
	return refused, fresh, e.manifest.append(lines...)
}

// onHost adds a hint to what the host's file system says.
func onHost(err error) error {
	switch {
	case err == nil || hint.Of(err) != "":
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint.Wrap(fmt.Errorf("keeping artifacts: %w", err), "Free some disk space, then sync again.")
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EROFS):
		return hint.Wrap(fmt.Errorf("keeping artifacts: %w", err), "Check who may write to the folder for artifacts.")
	}
	return err
}
