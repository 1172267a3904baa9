package sync

import (
	"context"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

// Transport is one way to the outbox of one guest. The engine above it plans, lands, records and reports; a transport
// lists, hands content over, and tells of changes. Whatever it returns is taken for the guest's word, and checked.
//
// What every transport must do:
//   - Bound what it takes from the guest: each wait has a deadline, each answer a size, a listing Limits.MaxFiles entries.
//   - Never follow a link of the guest's, nor open anything but a regular file, and put content nowhere but into Staging.
//   - Call an item whole only if all of its files are as they were listed, before they were read and after: not open for
//     writing, same Source, and for a bundle the same files. Bytes that the guest can still write to are none of these:
//     content is copied to the inode that Staging made, never linked or renamed there.
//   - Hand over nothing that was not asked for, and go on with the rest when one item fails.
//
// List, Fetch and Watch end when ctx does, with its error. Watch may run beside the others; List and Fetch take turns.
type Transport interface {
	// List lists the outbox as it is now. There is nothing wrong with an outbox that does not exist.
	List(ctx context.Context) (Listing, error)

	// Fetch hands over items of a listing by Staging.Create and the verdict on each by Staging.Whole, Busy, Changed or
	// Refuse, in any order; one without a verdict counts as changed. An error of Staging's ends it. Calls of Staging come
	// from one goroutine at a time.
	Fetch(ctx context.Context, items []Item, into *Staging) error

	// Watch calls news, from one goroutine, for what has changed in the outbox, beginning with whatever there is when it
	// has begun. It returns nil when it can no longer tell: the engine then looks for itself, and asks it to watch again.
	Watch(ctx context.Context, news func(Change)) error

	// Close ends whatever runs for it.
	Close() error
}

// Entry is one name of a listing; Stamp is its kind of time.
type (
	Entry = wire.Entry
	Stamp = wire.Stamp
)

// Listing is the guest's outbox at one moment.
type Listing struct {
	Root    *Entry // nil: there is none
	Entries []Entry
	More    bool            // the guest has more than was taken
	Open    map[string]bool // names that a program of the guest has open for writing, where the transport knows
}

// Change is news of an outbox.
type Change struct {
	Look bool     // something has changed; what, only a listing tells
	Dirs bool     // directories were made: look again a little later, too
	All  *Listing // what there is, instead of all that was told before
	Put  []Entry  // what these names are now
	Gone []string // names that are no longer there, with all below them
}

// Item is what lands as one: a file, or a bundle with all that is in it.
type Item struct {
	Name   string
	Bundle bool
	Files  []Entry  // regular files, sorted by name; of a file itself alone
	Dirs   []string // of a bundle: its directories, itself first
	Links  []Entry  // of a bundle: symbolic links that stay inside; nothing is to be fetched of them
	Size   int64
	Source string // of the file, or over all of the bundle
}
