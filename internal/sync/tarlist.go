package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

// Listing fields, NUL-terminated, as find prints them. A name is the one thing that may hold anything else.
const (
	entryFormat  = `f\0%y\0%s\0%T@\0%C@\0%i\0%D\0%n\0%m\0%l\0%P\0`
	entryFields  = 11
	openFormat   = `o\0%l\0`
	homeFormat   = `h\0%l\0`
	maxFieldSize = 8 << 10 // bytes; PATH_MAX is 4096
)

// maxOpenFiles bounds how many files open for writing are taken note of.
const maxOpenFiles = 10_000

// scanArgv is the one program that lists the outbox. It looks at /proc as well, where the mode of a link below fd tells
// what is open for writing (proc_pid_fd(5)): a file that a program still writes to is not whole, however quiet.
func scanArgv(o Options) []string {
	return []string{
		"env", "LC_ALL=C", "find", "-P", "/proc/self/cwd", "/proc", findRoot(o.GuestDir),
		"-maxdepth", strconv.Itoa(o.Limits.MaxDepth + 2), // one more than allowed, so that it is seen and refused
		"-path", "/proc/self/cwd", "-printf", homeFormat,
		"-o", "-path", "/proc/[0-9]*/fd/*", "-perm", "-200", "-printf", openFormat,
		"-o", "-regex", `/proc\(/[0-9]+\(/fd\)?\)?`,
		"-o", "-path", "/proc/*", "-prune",
		"-o", "-printf", entryFormat,
	}
}

// findRoot keeps find and tar from taking a directory's name for an option.
func findRoot(dir string) string {
	if path.IsAbs(dir) {
		return dir
	}
	return "./" + dir
}

// errEnough stops a guest that lists without end.
var errEnough = errors.New("listing is longer than what is taken")

// List lists the guest's outbox by find.
func (t *tarTransport) List(ctx context.Context) (Listing, error) {
	p := newListingParser(t.o)
	var complaints complaint
	exit, err := stream(ctx, t.r, guest.Cmd{Argv: scanArgv(t.o)}, p, &complaints, p.gained)
	switch {
	case errors.Is(err, errEnough):
		p.listing.More = true
	case err != nil:
		return Listing{}, fmt.Errorf("listing the outbox in the guest: %w", err)
	case exit > 1: // 1: something could not be read, or went away meanwhile
		return Listing{}, hint.Errorf("The guest needs GNU find (Debian package findutils).",
			"listing the outbox in the guest: find exited with %d: %s", exit, complaints.String())
	case p.partial():
		return Listing{}, errors.New("listing the outbox in the guest: the listing ends in mid-air")
	}
	return p.finish(), nil
}

// listingParser takes a listing as it comes, in pieces cut anywhere. It never holds more than one record and what it
// has accepted.
type listingParser struct {
	dir     string
	max     int
	home    string
	open    []string
	fields  [][]byte
	field   []byte
	listing Listing
	counted int // records that have earned time
}

func newListingParser(o Options) *listingParser {
	return &listingParser{dir: o.GuestDir, max: o.Limits.MaxFiles}
}

func (p *listingParser) Write(b []byte) (int, error) {
	n := len(b)
	for {
		head, rest, found := bytes.Cut(b, []byte{0})
		if len(p.field)+len(head) > maxFieldSize {
			return 0, fmt.Errorf("parsing the listing: a field of more than %d bytes", maxFieldSize)
		}
		p.field = append(p.field, head...)
		if !found {
			return n, nil
		}
		p.fields = append(p.fields, bytes.Clone(p.field))
		p.field = p.field[:0]
		if err := p.record(); err != nil {
			return 0, err
		}
		b = rest
	}
}

// gained is what the records that have come since it was last asked have earned.
func (p *listingParser) gained(int) time.Duration {
	before := p.counted
	p.counted = len(p.open) + len(p.listing.Entries)
	return earned(0, p.counted-before)
}

func (p *listingParser) partial() bool { return len(p.field) > 0 || len(p.fields) > 0 }

// record takes the record that the fields so far make, if they do.
func (p *listingParser) record() error {
	want := 2
	switch string(p.fields[0]) {
	case "h", "o":
	case "f":
		want = entryFields
	default:
		return fmt.Errorf("parsing the listing: a record of unknown kind %.20q", p.fields[0])
	}
	if len(p.fields) < want {
		return nil
	}
	f := p.fields
	p.fields = p.fields[:0]
	switch string(f[0]) {
	case "h":
		p.home = string(f[1])
	case "o":
		if len(p.open) < maxOpenFiles && bytes.HasPrefix(f[1], []byte("/")) {
			p.open = append(p.open, string(f[1]))
		}
	default:
		e, err := parseEntry(f[1:])
		if err != nil {
			return err
		}
		if e.Name == "" {
			if p.listing.Root != nil {
				return errors.New("parsing the listing: the outbox is listed twice")
			}
			p.listing.Root = &e
			return nil
		}
		if len(p.listing.Entries) >= p.max {
			return errEnough
		}
		p.listing.Entries = append(p.listing.Entries, e)
	}
	return nil
}

func (p *listingParser) finish() Listing {
	root := p.dir
	if !path.IsAbs(root) {
		root = path.Join(p.home, root)
	}
	p.listing.Open = make(map[string]bool)
	for _, name := range p.open {
		if below, ok := strings.CutPrefix(name, root+"/"); ok {
			p.listing.Open[below] = true
		}
	}
	return p.listing
}

func parseEntry(f [][]byte) (Entry, error) {
	var e Entry
	var errs [7]error
	if len(f[0]) != 1 {
		return e, fmt.Errorf("parsing the listing: a file of type %.20q", f[0])
	}
	e.Kind = f[0][0]
	e.Size, errs[0] = strconv.ParseInt(string(f[1]), 10, 64)
	e.MTime, errs[1] = parseStamp(string(f[2]))
	e.CTime, errs[2] = parseStamp(string(f[3]))
	e.Inode, errs[3] = strconv.ParseUint(string(f[4]), 10, 64)
	e.Device, errs[4] = strconv.ParseUint(string(f[5]), 10, 64)
	e.Links, errs[5] = strconv.ParseUint(string(f[6]), 10, 64)
	mode, err := strconv.ParseUint(string(f[7]), 8, 16)
	errs[6] = err
	if err := errors.Join(errs[:]...); err != nil {
		return e, fmt.Errorf("parsing the listing: %w", err)
	}
	if e.Size < 0 {
		return e, fmt.Errorf("parsing the listing: a file of %d bytes", e.Size)
	}
	e.Mode = uint32(mode)
	e.Target = string(f[8])
	e.Name = string(f[9])
	return e, nil
}

// parseStamp reads find's %T@: seconds, a point, and up to ten digits of which nine count.
func parseStamp(s string) (Stamp, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return Stamp{}, err
	}
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	if fraction == "" {
		return Stamp{Sec: sec}, nil
	}
	nano, err := strconv.ParseUint(fraction+strings.Repeat("0", 9-len(fraction)), 10, 32)
	if err != nil {
		return Stamp{}, err
	}
	return Stamp{Sec: sec, Nano: int32(nano)}, nil
}
