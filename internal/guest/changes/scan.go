package changes

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/helper"
)

// Guest is where the search runs; a *guest.Client is one.
type Guest interface {
	Stream(ctx context.Context, cmd guest.Cmd, stdout, stderr io.Writer) (int, error)
}

var _ Guest = (*guest.Client)(nil)

var (
	//go:embed scan.sh
	scanScript string
	//go:embed commits.sh
	commitsScript string
)

// maxOutput is how much of each of the guest's two streams is read, in bytes.
const maxOutput = 256 << 20

// place is where the script finds what; tests have their own.
type place struct {
	root string
	mac  string // a directory only macOS has: its find is another one
}

var guestRoot = place{root: "/", mac: "/System/Library/CoreServices"}

// grain is how far a guest's file times are behind its clock: a tick of its slowest kernel.
const grain = 20 * time.Millisecond

// errTimeout ends a scan that takes longer than its limit.
var errTimeout = errors.New("the guest took too long")

// Scan tells what changed in a running guest since an instant of the host's clock. What the guest's clock says of that
// instant is found out on the way, from how both clocks stand now. A guest that takes longer than l.Timeout, or says
// too much, leaves a report that is Incomplete. Errors are the end of ctx, a lost connection, and a guest whose clock
// cannot be read.
//
// Where the guest can be given CALMenu's own program (it is a helper.Client too), that looks, in a fraction of the time;
// where it cannot, find does.
func Scan(ctx context.Context, g Guest, since time.Time, l Limits) (Report, error) {
	return scan(ctx, g, since, l.withDefaults(), guestRoot)
}

func scan(ctx context.Context, g Guest, since time.Time, l Limits, where place) (Report, error) {
	own, cancel := context.WithTimeoutCause(ctx, l.Timeout, errTimeout)
	defer cancel()
	q := &query{guest: g, since: since, l: l, cancel: cancel}
	err := errNoHelper
	if c, ok := g.(helper.Client); ok {
		err = q.ask(own, c)
	}
	if errors.Is(err, errNoHelper) {
		err = q.search(own, where)
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case q.badClock != nil:
		err = q.badClock
	case errors.Is(err, errTimeout), errors.Is(err, guest.ErrLimit):
		err = nil
	case err == nil && !q.home.saw('c'):
		err = errors.New("the guest's clock could not be read")
	}
	if err != nil {
		return Report{}, fmt.Errorf("looking for changes: %w", err)
	}
	return report(since, q.home, q.system), nil
}

// query is one question, and what of its answer has come.
type query struct {
	guest    Guest
	since    time.Time
	l        Limits
	cancel   func()
	badClock error
	refused  bool // CALMenu's own program is there, and cannot look

	in     *answers
	home   *home
	system *system
}

// begin forgets what another way of asking brought.
func (q *query) begin() {
	q.in = newAnswers()
	q.home, q.system = newHome(q.l, q.clock, func([]string) {}), &system{l: q.l}
}

// clock answers the guest's clock with the instant, by that clock.
func (q *query) clock(text string) {
	at, err := onGuestClock(text, q.since, time.Now())
	if err != nil {
		q.badClock = err
		q.cancel()
		return
	}
	q.in.say(fmt.Sprintf("%d.%09d %s\n", at.Unix(), at.Nanosecond(), at.UTC().Format("200601021504.05")))
}

// search has find look for what changed.
func (q *query) search(ctx context.Context, where place) error {
	q.begin()
	defer q.in.close()
	q.home.looked = func(dirs []string) {
		q.in.say(strings.Join(append(dirs[:len(dirs):len(dirs)], ""), "\x00"))
		q.in.close()
	}
	q.system.root = strings.TrimSuffix(where.root, "/")
	_, err := q.guest.Stream(ctx, guest.Cmd{
		Argv: []string{
			"/bin/sh", "-c", scanScript, "sh", where.root, where.mac, strconv.Itoa(q.l.Commits + 1), commitsScript,
		},
		Stdin: q.in, Limit: maxOutput,
	}, &splitter{field: q.home.field}, &splitter{field: q.system.field})
	return err
}

// onGuestClock is an instant of the host's clock by the guest's, which said text before the host's was now. It is early
// by the time that took, rather than late.
func onGuestClock(text string, since, now time.Time) (time.Time, error) {
	whole, frac, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<33 {
		return time.Time{}, fmt.Errorf("the guest's clock says %q", clean(text, 40))
	}
	nanos := int64(0)
	if len(frac) == 9 { // a date without %N prints something else
		if n, err := strconv.ParseInt(frac, 10, 64); err == nil && n >= 0 {
			nanos = n
		}
	}
	at := time.Unix(seconds, nanos).Add(-now.Sub(since)).Add(-grain)
	if at.Unix() < 0 {
		return time.Unix(0, 0), nil
	}
	return at, nil
}

// answers is the script's standard input: what is said to it is never waited for.
type answers struct {
	said chan string
	done chan struct{}
	rest string
}

func newAnswers() *answers { return &answers{said: make(chan string, 2), done: make(chan struct{})} }

// say is called twice at most, and close from the same goroutine or when the other has ended.
func (a *answers) say(text string) { a.said <- text }

func (a *answers) close() {
	select {
	case <-a.done:
	default:
		close(a.done)
	}
}

func (a *answers) Read(b []byte) (int, error) {
	for a.rest == "" {
		select {
		case a.rest = <-a.said:
			continue
		default:
		}
		select {
		case a.rest = <-a.said:
		case <-a.done:
			select {
			case a.rest = <-a.said:
			default:
				return 0, io.EOF
			}
		}
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}
