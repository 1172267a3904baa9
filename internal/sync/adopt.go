package sync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/calmenu/calmenu/internal/clone"
	"github.com/calmenu/calmenu/internal/hint"
)

// maxAdopted bounds what the host itself lands: files, directories and links.
const maxAdopted = 500_000

// Adopt lands what the host itself has made of an artifact: name in from becomes the artifact as. facts adds to what is
// recorded. It keeps modes and inner links, for no guest has had a hand in it; quotas hold all the same.
func Adopt(ctx context.Context, o Options, from *os.Root, name, as string, facts func(*Artifact)) (Artifact, error) {
	e, err := open(nil, o, nil)
	if err != nil {
		return Artifact{}, err
	}
	defer e.close()
	var a Artifact
	err = e.locked(ctx, func() error {
		a, err = e.adopt(ctx, from, name, as, facts)
		return err
	})
	if err != nil {
		return Artifact{}, fmt.Errorf("landing %s: %w", display(as), onHost(err))
	}
	return a, nil
}

func (e *engine) adopt(
	ctx context.Context, from *os.Root, name, as string, facts func(*Artifact),
) (Artifact, error) {
	if reason := checkName(as, e.o.Limits); reason != "" {
		return Artifact{}, errors.New(reason)
	}
	info, err := from.Lstat(name)
	if err != nil {
		return Artifact{}, err
	}
	if err := e.dest.Mkdir(stagingDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return Artifact{}, err
	}
	defer func() { _ = tidyStaging(e.dest) }()
	s := &staged{
		Item: Item{Name: as, Bundle: info.IsDir()}, at: "adopted", mode: info.Mode().Perm(), modTime: info.ModTime(),
	}
	at := path.Join(stagingDir, s.at)
	copied, err := clone.Tree(from, name, e.dest, at, clone.Limits{
		Files: maxAdopted, Bytes: e.o.Limits.MaxTotal, Durable: true,
	})
	if err != nil {
		return Artifact{}, err
	}
	s.Size = copied.Bytes
	used, err := measure(e.dest)
	if err != nil {
		return Artifact{}, err
	}
	if used.Bytes+s.Size > e.o.Limits.MaxTotal {
		return Artifact{}, hint.Errorf("CALMenu artifacts prune frees what earlier versions hold.",
			"it would make more than the %d bytes that are kept in all", e.o.Limits.MaxTotal)
	}
	if s.sum, err = digestOf(e.dest, at, s.Bundle); err != nil {
		return Artifact{}, err
	}
	before := e.manifest.known[as]
	ld, err := e.newLander(ctx)
	if err != nil {
		return Artifact{}, err
	}
	defer ld.close()
	a, same, err := ld.land(s, ld.artifact(s, before), before)
	if err != nil {
		return Artifact{}, err
	}
	b := ld.built()
	a.Repository, a.Commit = b.Repository, b.Commit
	if same && before.SHA256 == a.SHA256 {
		return e.manifest.latest(as)
	}
	facts(&a)
	l := line{Event: eventLanded, Time: e.o.Now().UTC(), Artifact: &a}
	return a, e.manifest.append(l)
}

// locked runs f with the outbox to itself, and nothing of a pass that was killed in it.
func (e *engine) locked(ctx context.Context, f func() error) (err error) {
	if ok, err := e.lock.TryLockContext(ctx, lockRetry); err != nil || !ok {
		return fmt.Errorf("waiting for another pass over the outbox: %w", err)
	}
	defer func() { err = errors.Join(err, e.lock.Unlock()) }()
	if err := e.remembered(); err != nil {
		return onHost(err)
	}
	if err := tidyStaging(e.dest); err != nil {
		return onHost(err)
	}
	return f()
}
