package sync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/hint"
)

// maxTries is how often one pass tries to receive something that keeps changing.
const maxTries = 2

// maxRefusals bounds what one report says about refusals.
const maxRefusals = 100

// lockRetry is how often a lock that another process holds is tried.
const lockRetry = 20 * time.Millisecond

// Once brings in what the guest has put into its outbox since the last pass, of this process or another, and returns
// what it did. Progress, unless nil, is called from one goroutine, at most every 100 ms and at the end of a transfer.
// On an error the report tells what had landed by then.
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
	fresh    []Refusal // of the last pass, those that no earlier one had met
	last     Listing   // as of the last pass
}

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
		manifest: manifest{path: filepath.Join(o.State, manifestName), keep: o.KeepVersions},
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
	defer func() { report.Duration = time.Since(start) }()
	if ok, err := e.lock.TryLockContext(ctx, lockRetry); err != nil || !ok {
		return report, fmt.Errorf("waiting for another pass over the outbox: %w", err)
	}
	defer func() { err = errors.Join(err, e.lock.Unlock()) }()
	if err := e.manifest.refresh(); err != nil {
		return report, err
	}
	if err := e.dest.RemoveAll(stagingDir); err != nil { // of a pass that was killed
		return report, onHost(err)
	}
	p := &pass{engine: e, report: &report, tries: map[string]int{}, settled: map[key]verdict{}}
	for again := true; again; {
		var live bool
		if e.last, live, err = list(ctx); err != nil {
			return report, err
		}
		if again, err = p.round(ctx, e.last); err != nil {
			return report, err
		}
		again = again && !live
	}
	report.Refused, err = e.remember(p.refused)
	return report, err
}

// pass is one under way.
type pass struct {
	*engine
	report  *Report
	refused []Refusal
	tell    meter
	tries   map[string]int
	settled map[key]verdict // what is not tried again
	byHost  []Refusal       // of what has settled
	seen    int             // of this round: content that had landed before, from another source
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
		v, settled := p.settled[key{it.Name, it.Source}]
		tired := p.tries[it.Name] >= maxTries
		if v == busy || tired && !settled {
			p.report.Waiting++
		}
		return settled || tired
	})
	if len(todo) == 0 {
		return false, nil
	}
	if p.tell == nil {
		p.tell = p.meter(todo)
	}
	for _, it := range todo {
		p.tries[it.Name]++
	}
	p.seen = 0
	items, err := p.fetch(ctx, todo)
	p.report.Unchanged += p.seen
	if err != nil {
		return false, err
	}
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
	return again, nil
}

// plan plans with what is known now. The destination is measured only when there is something to fetch.
func (e *engine) plan(l Listing) (plan, error) {
	known := e.manifest.sources()
	if time.Since(e.measured) > remeasure {
		if p := makePlan(l, known, usage{}, e.o); len(p.Fetch) == 0 {
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
	if err := p.dest.Mkdir(stagingDir, 0o700); err != nil {
		return nil, onHost(err)
	}
	defer func() { _ = p.dest.RemoveAll(stagingDir) }()
	ld := p.newLander(ctx)
	into := newStaging(p.dest, p.o, todo, p.tell, func(batch []*staged) error { return p.land(ld, batch) })
	err := p.t.Fetch(ctx, todo, into)
	if !errors.Is(err, errHost) {
		err = errors.Join(err, into.flush())
	}
	return into.items, onHost(err)
}

// unlimited lifts the quotas: what has been received was within them.
func unlimited(o Options) Options {
	o.Limits.MaxTotal, o.Limits.MaxFiles = 1<<62, 1<<30
	return o
}

// land gives received items their names and records them.
func (p *pass) land(ld *lander, batch []*staged) error {
	if err := makeDurable(p.dest, batch); err != nil {
		return errors.Join(errHost, err)
	}
	var lines []line
	var failed error
	for _, s := range batch {
		l, err := p.landOne(ld, s)
		if err != nil {
			failed = errors.Join(errHost, err)
			break
		}
		lines = append(lines, l...)
	}
	return errors.Join(failed, p.manifest.append(lines...), p.manifest.sync())
}

func (p *pass) landOne(ld *lander, s *staged) ([]line, error) {
	before := p.manifest.known[s.Name]
	a, same, err := ld.land(s, before)
	var no refusal
	switch {
	case errors.As(err, &no):
		s.verdict, s.reason = refused, no.Error()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("landing %s: %w", display(s.Name), err)
	}
	event := eventLanded
	if same && before.SHA256 == a.SHA256 {
		event, a = eventSeen, before.Artifact
		p.seen++
	} else {
		p.report.Landed = append(p.report.Landed, a)
		p.report.Bytes += a.Size
		p.used.Files += len(s.Files)
		p.used.Bytes += a.Size
	}
	return []line{{Event: event, Time: time.Now().UTC(), Source: s.Source, Artifact: &a}}, nil
}

// remember records refusals that are not in the manifest, and returns what of them a report has room for.
func (e *engine) remember(refused []Refusal) ([]Refusal, error) {
	if more := len(refused) - maxRefusals; more > 0 {
		refused = append(slices.Clone(refused[:maxRefusals]), Refusal{
			Name: fmt.Sprintf("%d others", more), Reason: "for reasons like these",
		})
	}
	var lines []line
	e.fresh = nil
	for _, r := range refused {
		if !e.manifest.refused[r] {
			e.fresh = append(e.fresh, r)
			lines = append(lines, line{Event: eventRefused, Time: time.Now().UTC(), Entry: r.Name, Reason: r.Reason})
		}
	}
	return refused, errors.Join(e.manifest.append(lines...), e.manifest.sync())
}

// meter is told of n more bytes of what is received, and when an artifact is complete.
type meter func(name string, n int64, done bool)

// meter turns what fetch tells, over all transfers of a pass, into Progress.
func (e *engine) meter(todo []Item) meter {
	var p Progress
	for _, it := range todo {
		p.TotalFiles++
		p.TotalBytes += it.Size
	}
	var last time.Time
	return func(name string, n int64, done bool) {
		p.Name = display(name)
		p.Bytes += n
		p.TotalBytes = max(p.TotalBytes, p.Bytes) // what changed meanwhile is received again
		if done {
			p.Files++
			p.TotalFiles = max(p.TotalFiles, p.Files)
		}
		if p.Files == p.TotalFiles || time.Since(last) >= 100*time.Millisecond {
			last = time.Now()
			e.progress(p)
		}
	}
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
