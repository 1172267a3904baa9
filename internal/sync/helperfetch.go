package sync

import (
	"errors"
	"fmt"
	gosync "sync"
	"time"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

const (
	ahead     = 1024     // files asked for before they have come
	batchSize = 32 << 10 // bytes of requests in one frame, about
)

// fetchCall is the question for the content of items.
type fetchCall struct {
	s     *session
	items []Item
	into  *Staging

	mu      gosync.Mutex // guards what follows
	files   []member
	asked   int // of files
	arrived int // of those
	open    map[uint32]*Staged
	missing []int     // files of each item that have not ended
	worst   []verdict // of an item's files so far
	words   []string  // why an item is refused
	seals   map[uint32]*taker
	left    int   // items without a verdict
	budget  int64 // bytes that may still come
	prefix  int64 // bytes that the helper may still have to read before it sends some
	bytes   int64 // that have earned no time yet
	names   int   // the same: files that have ended, and entries
}

// member is one file by its place. Its index is its number on the wire.
type member struct {
	item, file int
	from       int64 // what is here already of it
	ended      bool
}

func newFetchCall(s *session, items []Item, into *Staging) *fetchCall {
	c := &fetchCall{
		s: s, items: items, into: into, open: map[uint32]*Staged{}, seals: map[uint32]*taker{}, left: len(items),
		missing: make([]int, len(items)), worst: make([]verdict, len(items)), words: make([]string, len(items)),
		budget: 1 << 20,
	}
	for i, it := range items {
		c.missing[i], c.worst[i] = len(it.Files), whole
		for j, e := range it.Files {
			c.files = append(c.files, member{item: i, file: j})
			c.budget += e.Size + 4<<10
		}
		if it.Bundle {
			c.budget += int64(it.names()+len(it.Dirs)) * (12 << 10)
		}
	}
	return c
}

// begin asks for the first files.
func (c *fetchCall) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, it := range c.items {
		if len(it.Files) == 0 {
			c.seal(i)
		}
	}
	return c.ask()
}

// ask asks for more files, unless enough are on their way.
func (c *fetchCall) ask() error {
	if c.asked-c.arrived > ahead/2 {
		return nil
	}
	var payload []byte
	var before Entry
	flush := func() {
		if len(payload) > 0 {
			c.s.out.add(wire.AppendFrame(nil, wire.Get, payload))
			payload, before = payload[:0], Entry{}
		}
	}
	for ; c.asked < len(c.files) && c.asked-c.arrived < ahead; c.asked++ {
		m := &c.files[c.asked]
		r := wire.Request{ID: uint32(c.asked), Entry: c.items[m.item].Files[m.file]}
		var err error
		if r.From, r.Sum, err = c.into.Resume(m.item, m.file); err != nil {
			return err
		}
		m.from = r.From
		c.prefix += r.From
		payload = r.Append(payload, &before)
		if before = r.Entry; len(payload) > batchSize {
			flush()
		}
	}
	flush()
	return nil
}

// seal asks whether a bundle is still as it was listed, now that all of it has come.
func (c *fetchCall) seal(item int) {
	it := &c.items[item]
	c.seals[uint32(item)] = &taker{max: it.names() + len(it.Dirs)}
	c.s.out.add(wire.AppendFrame(nil, wire.Seal, wire.AppendText(wire.AppendUint(nil, uint64(item)), it.Name)))
}

// spend counts what comes. A helper sends what it was asked for and not much besides.
func (c *fetchCall) spend(n int) error {
	if c.budget -= int64(n); c.budget < 0 {
		return errors.New("the helper sends more than it was asked for")
	}
	c.bytes += int64(n)
	return nil
}

// beat takes a sign of life for as much read of what is here already, as far as there is something of the kind.
func (c *fetchCall) beat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prefix >= wire.BeatEvery {
		c.prefix -= wire.BeatEvery
		c.bytes += wire.BeatEvery
	}
}

func (c *fetchCall) gained() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := earned(c.bytes, c.names)
	c.bytes, c.names = 0, 0
	return d
}

// of returns the member of a number that the helper says.
func (c *fetchCall) of(id uint64) (*member, error) {
	if id >= uint64(c.asked) || c.files[id].ended {
		return nil, errProtocol
	}
	return &c.files[id], nil
}

// staged returns where a file is received, from its beginning unless it has begun.
func (c *fetchCall) staged(id uint64) (*Staged, error) {
	m, err := c.of(id)
	if err != nil {
		return nil, err
	}
	f := c.open[uint32(id)]
	if f == nil {
		if f, err = c.into.Create(m.item, m.file); err == nil {
			c.open[uint32(id)] = f
		}
	}
	return f, err
}

func (c *fetchCall) data(id uint32, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.spend(len(b)); err != nil {
		return err
	}
	f, err := c.staged(uint64(id))
	if err == nil {
		_, err = f.Write(b)
	}
	return err
}

func (c *fetchCall) frame(kind byte, d *wire.Decoder) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.spend(wire.HeaderSize); err != nil {
		return false, err
	}
	id := d.Uint()
	switch kind {
	case wire.At:
		err = c.at(id, int64(d.Uint()))
	case wire.Hole:
		var f *Staged
		size := int64(d.Uint())
		if f, err = c.staged(id); err == nil {
			err = f.Hole(size)
		}
	case wire.Finish:
		err = c.finish(id, wire.Status(d.Byte()), d.Text())
	case wire.Entries, wire.End:
		err = c.sealed(uint32(id), kind, d)
	default:
		err = errProtocol
	}
	return c.left == 0, err
}

// at hears where in a file the next bytes belong: after what is here, or at its beginning.
func (c *fetchCall) at(id uint64, offset int64) error {
	m, err := c.of(id)
	if err != nil {
		return err
	}
	if c.open[uint32(id)] != nil || m.from == 0 || offset != 0 && offset != m.from {
		return errProtocol
	}
	if offset == 0 {
		return nil
	}
	f, err := c.into.Continue(m.item, m.file)
	if err == nil {
		c.open[uint32(id)] = f
	}
	return err
}

func (c *fetchCall) finish(id uint64, status wire.Status, words string) error {
	m, err := c.of(id)
	if err != nil {
		return err
	}
	var v verdict
	switch status {
	case wire.Whole:
		f, err := c.staged(id)
		if err == nil {
			err = f.Done()
		}
		if err != nil {
			return err
		}
		v = whole
	case wire.Busy:
		v = busy
	case wire.Refused:
		v = refused
		c.words[m.item] = words
		if it := &c.items[m.item]; it.Bundle {
			c.words[m.item] = fmt.Sprintf("holds %s: %s", it.Files[m.file].Name, words)
		}
	case wire.Changed:
		v = changed
	default:
		return errProtocol
	}
	if f := c.open[uint32(id)]; f != nil && v != whole {
		if err := f.Drop(); err != nil {
			return err
		}
	}
	delete(c.open, uint32(id))
	m.ended = true
	c.arrived++
	c.names++
	if v != whole {
		c.worst[m.item] = v
	}
	if c.missing[m.item]--; c.missing[m.item] == 0 {
		if err := c.complete(m.item); err != nil {
			return err
		}
	}
	return c.ask()
}

// complete is called when all files of an item have ended.
func (c *fetchCall) complete(item int) error {
	if c.worst[item] == whole && c.items[item].Bundle {
		c.seal(item)
		return nil
	}
	return c.decide(item, c.worst[item])
}

func (c *fetchCall) decide(item int, v verdict) error {
	c.left--
	switch v {
	case whole:
		return c.into.Whole(item)
	case busy:
		c.into.Busy(item)
	case refused:
		c.into.Refuse(item, c.words[item])
	default:
		c.into.Changed(item)
	}
	return nil
}

// sealed takes the listing of a bundle that has come.
func (c *fetchCall) sealed(item uint32, kind byte, d *wire.Decoder) error {
	t := c.seals[item]
	if t == nil {
		return errProtocol
	}
	if kind == wire.Entries {
		err := d.EntriesOf(t.take)
		c.names += t.fresh()
		return err
	}
	more := d.Uint() != 0 || t.listing.More
	delete(c.seals, item)
	it := &c.items[item]
	if more || sources(t.listing, c.s.o)[it.Name] != it.Source {
		return c.decide(int(item), changed)
	}
	return c.decide(int(item), whole)
}

// suspend puts away what has not come whole; of a large file, for another time.
func (c *fetchCall) suspend() error {
	var errs []error
	for _, f := range c.open {
		errs = append(errs, f.Suspend())
	}
	return errors.Join(errs...)
}
