package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/vm"
)

// The changes. Each is: say what is about to be done, in the catalogue; have the driver do it, which is a transaction of
// its own; see that it is done; cross the intent out. Whatever a crash leaves is put right by what begins next.

const (
	opCreate  = "create"
	opRestore = "restore"
	opDelete  = "delete"
	opPrune   = "prune"
	opRename  = "rename"
	opNote    = "note"
)

// change is one transaction: the catalogue as it is being changed, and the snapshots there were when it began.
type change struct {
	*Catalog
	book *book
	list []Snapshot // newest first
	op   string
}

// begin reads what there is, after putting right what a crash left.
func (c *Catalog) begin(ctx context.Context, op string) (*change, error) {
	if err := c.fault(op + ":begin"); err != nil {
		return nil, err
	}
	b, have, _, err := c.reconcile(ctx)
	if err != nil {
		return nil, err
	}
	return &change{Catalog: c, book: b, list: b.describe(have), op: op}, nil
}

// reconcile makes the catalogue agree with the driver, in memory: of what does not exist nothing is to be said, and an
// intent has been carried out or it has not. It tells whether that differs from the file.
func (c *Catalog) reconcile(ctx context.Context) (*book, []vm.Snapshot, bool, error) {
	b, err := c.read()
	if err != nil {
		return nil, nil, false, err
	}
	stale := b.Intent != nil
	if stale {
		// The driver may have died in the same instant, and know only now what exists.
		if err := c.driver.Recover(ctx, c.workspace); err != nil {
			return nil, nil, false, fmt.Errorf("recovering %q: %w", c.workspace, err)
		}
	}
	have, err := c.existing(ctx)
	if err != nil {
		return nil, nil, false, err
	}
	b.Intent = nil
	for id := range b.Snapshots {
		if !exists(have, id) {
			delete(b.Snapshots, id)
			stale = true
		}
	}
	return b, have, stale, nil
}

// Recover makes the catalogue agree with the driver after a crash. It is cheap when there is nothing to do.
func (c *Catalog) Recover(ctx context.Context) error {
	b, _, stale, err := c.reconcile(ctx)
	if err != nil || !stale {
		return err
	}
	return c.write(b)
}

func exists(have []vm.Snapshot, id string) bool {
	return slices.ContainsFunc(have, func(h vm.Snapshot) bool { return h.ID == id })
}

// journal writes the intent, with what the book says by now.
func (t *change) journal(ids ...string) error {
	t.book.Intent = &intent{Op: t.op, IDs: ids, Began: t.now()}
	if err := t.write(t.book); err != nil {
		return err
	}
	return t.fault(t.op + ":journaled")
}

// finish crosses the intent out.
func (t *change) finish() error {
	t.book.Intent = nil
	if err := t.write(t.book); err != nil {
		return err
	}
	return t.fault(t.op + ":finished")
}

// settleTime bounds how long an operation that failed, perhaps because its caller gave up, puts the catalogue right.
const settleTime = 10 * time.Second

// settle ends a change that the driver failed: what it did in spite of that stays described, and nothing else does. If
// that cannot be, the next change does it.
func (t *change) settle(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	return errors.Join(err, t.Recover(ctx))
}

// Create takes a snapshot of the workspace as it is now. o is the driver's (see vm.Snapshotter). An error with a snapshot
// that has an identifier means that it was taken all the same.
func (c *Catalog) Create(ctx context.Context, s Snapshot, o vm.SnapshotOptions) (Snapshot, error) {
	t, err := c.begin(ctx, opCreate)
	if err != nil {
		return Snapshot{}, err
	}
	now := c.now()
	s.ID, s.Created, s.Repositories = newID(s.Kind, now), now, bounded(s.Repositories)
	if err := canCreate(t.list, s); err != nil {
		return Snapshot{}, err
	}
	if s.Name == "" {
		s.Name = unused(t.list, now.Format("2006-01-02 15:04:05"))
	}
	ask := s.Ask
	s.Ask = nil
	t.book.Snapshots[s.ID] = s
	if err := t.journal(s.ID); err != nil {
		return Snapshot{}, err
	}
	if err := c.driver.CreateSnapshot(ctx, c.workspace, s.ID, o); err != nil {
		return Snapshot{}, t.settle(ctx, fmt.Errorf("taking a snapshot of %q: %w", c.workspace, err))
	}
	if err := c.fault("create:taken"); err != nil {
		return Snapshot{}, err
	}
	h, err := t.verify(ctx, s.ID)
	if err != nil {
		return Snapshot{}, t.settle(ctx, err)
	}
	s.Warm, s.SizeBytes = h.Memory, h.SizeBytes
	if ask != nil {
		s.Repositories = bounded(ask())
	}
	t.book.Snapshots[s.ID] = s
	return s, t.finish()
}

// verify sees that the driver has what it said it made.
func (t *change) verify(ctx context.Context, id string) (vm.Snapshot, error) {
	have, err := t.existing(ctx)
	if err != nil {
		return vm.Snapshot{}, err
	}
	i := slices.IndexFunc(have, func(h vm.Snapshot) bool { return h.ID == id })
	if i < 0 {
		return vm.Snapshot{}, fmt.Errorf("the driver has lost snapshot %s of %q, which it said it had made", id, t.workspace)
	}
	return have[i], nil
}

// Restore makes the stopped machine's disk (and memory, if there is some) that of s and returns the undo snapshot that
// holds what it replaced. Undo snapshots do not pile up: older ones than the newest UndoKeep are deleted once the
// rollback is complete. An error with an undo that has an identifier means that the rollback took place.
func (c *Catalog) Restore(ctx context.Context, s Snapshot) (Snapshot, error) {
	t, err := c.begin(ctx, opRestore)
	if err != nil {
		return Snapshot{}, err
	}
	now := c.now()
	undo := Snapshot{
		ID: newID(Undo, now), Kind: Undo, Created: now,
		Name:   unused(t.list, "before rollback "+now.Format("2006-01-02 15:04:05")),
		Reason: fmt.Sprintf("replaced by a rollback to %q", s.Name),
	}
	t.book.Snapshots[undo.ID] = undo
	if err := t.journal(undo.ID); err != nil {
		return Snapshot{}, err
	}
	if err := c.driver.Restore(ctx, c.workspace, s.ID, undo.ID); err != nil {
		return Snapshot{}, t.settle(ctx, fmt.Errorf("rolling back %q to %q: %w", c.workspace, s.Name, err))
	}
	if err := c.fault("restore:swapped"); err != nil {
		return Snapshot{}, err
	}
	h, err := t.verify(ctx, undo.ID)
	if err != nil {
		return Snapshot{}, t.settle(ctx, err)
	}
	undo.Warm, undo.SizeBytes = h.Memory, h.SizeBytes
	t.book.Snapshots[undo.ID] = undo
	if err := t.finish(); err != nil {
		return undo, err
	}
	return undo, c.pruneUndo(ctx)
}

func (c *Catalog) pruneUndo(ctx context.Context) error {
	keep := c.UndoKeep
	if keep == 0 {
		keep = DefaultUndoKeep
	}
	list, err := c.List(ctx)
	if err != nil {
		return err
	}
	_, err = c.Prune(ctx, Plan(list, Policy{UndoKeep: keep}, c.now()))
	return err
}

// Delete deletes a snapshot by identifier.
func (c *Catalog) Delete(ctx context.Context, id string) error {
	t, err := c.begin(ctx, opDelete)
	if err != nil {
		return err
	}
	if err := t.journalRemoval(id); err != nil {
		return err
	}
	if err := t.remove(ctx, id); err != nil {
		return err
	}
	return t.finishRemoval()
}

// Prune deletes what a plan lets go, and returns what it deleted. What is gone already is passed over, and so is what
// somebody has named since.
func (c *Catalog) Prune(ctx context.Context, plan []Removal) ([]Removal, error) {
	if len(plan) == 0 {
		return nil, nil
	}
	t, err := c.begin(ctx, opPrune)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range plan {
		ids = append(ids, r.Snapshot.ID)
	}
	if err := t.journalRemoval(ids...); err != nil {
		return nil, err
	}
	var gone []Removal
	for _, r := range plan {
		i := slices.IndexFunc(t.list, func(s Snapshot) bool { return s.ID == r.Snapshot.ID })
		if i < 0 || t.list[i].Kept {
			continue
		}
		if err := t.remove(ctx, r.Snapshot.ID); err != nil {
			return gone, err
		}
		gone = append(gone, r)
	}
	return gone, t.finishRemoval()
}

// journalRemoval is journal, but for a full disk: what makes room must not need some, and a removal that is cut short is
// found by its traces.
func (t *change) journalRemoval(ids ...string) error {
	return unlessFull(t.journal(ids...))
}

// finishRemoval is finish, with the same exception: of what is gone nothing is shown, whatever the catalogue says.
func (t *change) finishRemoval() error { return unlessFull(t.finish()) }

func unlessFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return err
}

func (t *change) remove(ctx context.Context, id string) error {
	if err := t.driver.DeleteSnapshot(ctx, t.workspace, id); err != nil {
		return t.settle(ctx, fmt.Errorf("deleting snapshot %s of %q: %w", id, t.workspace, err))
	}
	if err := t.fault(t.op + ":removed"); err != nil {
		return err
	}
	have, err := t.existing(ctx)
	if err == nil && exists(have, id) {
		err = fmt.Errorf("snapshot %s of %q is still there after it was deleted", id, t.workspace)
	}
	if err != nil {
		return t.settle(ctx, err)
	}
	delete(t.book.Snapshots, id)
	return nil
}

// Rename gives a snapshot, by name or identifier, another name, and returns it as it is then. One that was taken
// automatically is kept from then on: who names a thing wants it.
func (c *Catalog) Rename(ctx context.Context, ref, name string) (Snapshot, error) {
	if err := ValidName(name); err != nil {
		return Snapshot{}, err
	}
	return c.edit(ctx, opRename, ref, func(list []Snapshot, s *Snapshot) error {
		if s.Name != name && named(list, name) {
			return errTaken(name)
		}
		s.Name, s.Kept = name, s.Kind.Automatic()
		return nil
	})
}

// SetNote puts a person's words beside a snapshot, by name or identifier; empty takes them away.
func (c *Catalog) SetNote(ctx context.Context, ref, note string) (Snapshot, error) {
	if err := ValidNote(note); err != nil {
		return Snapshot{}, err
	}
	return c.edit(ctx, opNote, ref, func(_ []Snapshot, s *Snapshot) error {
		s.Note = note
		return nil
	})
}

// edit changes what is said of one snapshot. The file is replaced whole, which is all the transaction it needs.
func (c *Catalog) edit(
	ctx context.Context, op, ref string, f func(list []Snapshot, s *Snapshot) error,
) (Snapshot, error) {
	t, err := c.begin(ctx, op)
	if err != nil {
		return Snapshot{}, err
	}
	s, err := c.find(t.list, ref)
	if err == nil {
		err = f(t.list, &s)
	}
	if err != nil {
		return Snapshot{}, err
	}
	t.book.Snapshots[s.ID] = s
	return s, t.finish()
}
