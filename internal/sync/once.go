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
func Once(ctx context.Context, r Runner, o Options, progress func(Progress)) (Report, error) {
	e, err := open(r, o, progress)
	if err != nil {
		return Report{}, err
	}
	defer e.close()
	report, _, err := e.pass(ctx)
	return report, err
}

// key names one content of one name.
type key struct{ name, source string }

// engine is one outbox, over one connection.
type engine struct {
	r        Runner
	o        Options
	dest     *os.Root
	lock     *flock.Flock
	manifest manifest
	progress func(Progress)

	used     usage
	measured time.Time // when used was counted, not just added to
	fresh    []Refusal // of the last pass, those that no earlier one had met
}

// remeasure is how long a count of the destination is good for.
const remeasure = 30 * time.Second

func open(r Runner, o Options, progress func(Progress)) (*engine, error) {
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
		r: r, o: o, dest: dest, progress: progress,
		lock:     flock.New(filepath.Join(o.State, "lock"), flock.SetPermissions(0o600)),
		manifest: manifest{path: filepath.Join(o.State, manifestName), keep: o.KeepVersions},
	}, nil
}

func (e *engine) close() {
	_ = e.lock.Close()
	_ = e.dest.Close()
}

// pass goes through the pipeline once. It also returns the last listing.
func (e *engine) pass(ctx context.Context) (report Report, l listing, err error) {
	start := time.Now()
	defer func() { report.Duration = time.Since(start) }()
	if ok, err := e.lock.TryLockContext(ctx, lockRetry); err != nil || !ok {
		return report, l, fmt.Errorf("waiting for another pass over the outbox: %w", err)
	}
	defer func() { err = errors.Join(err, e.lock.Unlock()) }()
	if err := e.manifest.refresh(); err != nil {
		return report, l, err
	}
	if err := e.dest.RemoveAll(stagingDir); err != nil { // of a pass that was killed
		return report, l, onHost(err)
	}
	if l, err = scan(ctx, e.r, e.o); err != nil {
		return report, l, err
	}
	var tell meter
	tries := map[string]int{}
	settled := map[key]Refusal{} // by the host
	for {
		p, err := e.plan(l)
		if err != nil {
			return report, l, err
		}
		report.Unchanged = max(p.Unchanged-len(report.Landed), 0)
		report.Refused = p.Refused
		report.Waiting = len(p.Waiting)
		todo := slices.DeleteFunc(p.Fetch, func(it item) bool {
			if r, ok := settled[key{it.Name, it.Source}]; ok {
				report.Refused = append(report.Refused, r)
				return true
			}
			if tries[it.Name] >= maxTries {
				report.Waiting++
				return true
			}
			return false
		})
		if len(todo) == 0 {
			report.Refused, err = e.remember(report.Refused)
			return report, l, err
		}
		if tell == nil {
			tell = e.meter(todo)
		}
		todo = chunk(todo)
		for _, it := range todo {
			tries[it.Name]++
		}
		if l, err = e.bring(ctx, todo, tell, settled, &report); err != nil {
			return report, l, err
		}
	}
}

// plan plans with what is known now. The destination is measured only when there is something to fetch.
func (e *engine) plan(l listing) (plan, error) {
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

// bring receives items, lists the outbox again, and lands those that both listings agree about. It returns the second
// listing.
func (e *engine) bring(
	ctx context.Context, todo []item, tell meter, settled map[key]Refusal, report *Report,
) (listing, error) {
	if err := e.dest.Mkdir(stagingDir, 0o700); err != nil {
		return listing{}, onHost(err)
	}
	defer func() { _ = e.dest.RemoveAll(stagingDir) }()
	received, err := fetch(ctx, e.r, e.o, e.dest, todo, tell)
	if err != nil {
		return listing{}, onHost(err)
	}
	durable := make(chan error, 1)
	go func() { durable <- makeDurable(e.dest, received) }()
	l, err := scan(ctx, e.r, e.o)
	if err = errors.Join(err, onHost(<-durable)); err != nil {
		return l, err
	}
	now := map[string]string{}
	names := e.manifest.sources()
	for name := range names {
		names[name] = "" // keeps its right of way, and is planned as if it were new
	}
	for _, it := range makePlan(l, names, usage{}, unlimited(e.o)).Fetch {
		now[it.Name] = it.Source
	}
	err = nil
	ld := &lander{dest: e.dest, o: e.o, now: time.Now, dirs: map[string]bool{}}
	for _, s := range received {
		if now[s.Name] != s.Source {
			continue // changed while it was read
		}
		if err = e.land(ld, s, settled, report); err != nil {
			break
		}
	}
	return l, errors.Join(err, e.manifest.sync())
}

// unlimited lifts the quotas: what has been received was within them.
func unlimited(o Options) Options {
	o.Limits.MaxTotal, o.Limits.MaxFiles = 1<<62, 1<<30
	return o
}

func (e *engine) land(ld *lander, s staged, settled map[key]Refusal, report *Report) error {
	before := e.manifest.known[s.Name]
	a, same, err := ld.land(s, before)
	var no refusal
	switch {
	case errors.As(err, &no):
		settled[key{s.Name, s.Source}] = Refusal{Name: display(s.Name), Reason: no.Error()}
		return nil
	case err != nil:
		return onHost(fmt.Errorf("landing %s: %w", display(s.Name), err))
	}
	event := eventLanded
	if same && before.SHA256 == a.SHA256 {
		event, a = eventSeen, before.Artifact
	} else {
		report.Landed = append(report.Landed, a)
		report.Bytes += a.Size
		e.used.Files += len(s.Files)
		e.used.Bytes += a.Size
	}
	return e.manifest.append(line{Event: event, Time: time.Now().UTC(), Source: s.Source, Artifact: &a})
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
func (e *engine) meter(todo []item) meter {
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
