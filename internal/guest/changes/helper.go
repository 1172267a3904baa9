package changes

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/changes/tally"
	"github.com/calmenu/calmenu/internal/guest/helper"
)

// What CALMenu's own program in the guest says (package search) differs from the script in that it has counted:
//
//	n "name files folders bytes" of what names: yours, git, system, caches
//	t "size path" of the largest files    g git directory
//	u why it cannot look: nothing follows
//
// The other fields are the script's. It says all on standard output.

// errNoHelper says that the program is not in the guest, or cannot look for changes there.
var errNoHelper = errors.New("the helper program cannot look for changes")

// ask has the program look, which is put into the guest first if it is not there: to look whether it is would take
// longer than to try. errNoHelper says that the script is to do it.
func (q *query) ask(ctx context.Context, g helper.Client) error {
	name, err := helper.Name(g.GuestOS())
	if err != nil || g.GuestOS() != "linux" {
		return errNoHelper
	}
	if err := q.run(ctx, name); !errors.Is(err, errNoHelper) || q.refused {
		return err
	}
	if name, err = helper.Ensure(ctx, g); err != nil {
		return errNoHelper
	}
	return q.run(ctx, name)
}

func (q *query) run(ctx context.Context, name string) error {
	q.begin()
	defer q.in.close()
	a := newCounted(q.home, q.system)
	ended := make(chan error, 1)
	go func() {
		code, err := q.guest.Stream(ctx, guest.Cmd{
			Argv: []string{
				"sudo", "-n", name, "changes", strconv.Itoa(q.l.Top), strconv.Itoa(q.l.Repos), strconv.Itoa(q.l.Commits + 1),
				commitsScript,
			},
			Stdin: q.in, Limit: maxOutput,
		}, &splitter{field: a.field}, nil)
		if err == nil && (a.refused || code != 0 && !a.home.saw('x')) {
			err = errNoHelper
		}
		ended <- err
	}()
	select {
	case <-a.whole: // to end takes an emulated guest a while, and tells nothing more
		return nil
	case err := <-ended:
		q.refused = a.refused
		return err
	}
}

// counted reads the program's answer.
type counted struct {
	home    *home
	system  *system
	refused bool
	whole   chan struct{} // closed at the end of the answer: it is no longer written to
	over    bool          // it is closed
}

func newCounted(h *home, s *system) *counted {
	return &counted{home: h, system: s, whole: make(chan struct{})}
}

func (a *counted) field(f string) {
	if a.over {
		return
	}
	if f == "" {
		a.home.strange = true
		return
	}
	h, body := a.home, f[1:]
	ok := true
	switch f[0] {
	case 'u':
		a.refused = true
	case 'n':
		ok = !h.saw('x') && a.count(body)
	case 't':
		c, good := parseChanged("f " + body)
		if ok = good && !h.saw('x') && len(h.found.Largest) < h.l.Top; ok {
			h.found.Rank(tally.File{Path: c.path, Bytes: c.size})
		}
	case 'g':
		if ok = !h.saw('x') && len(body) > 0; ok {
			h.found.AddGitDir(body)
		}
	case '+':
		ok = false
	case 'x':
		a.system.ended = true
		h.field(f)
	default:
		h.field(f)
	}
	h.strange = h.strange || !ok
	if a.over = h.saw('z'); a.over {
		close(a.whole)
	}
}

// count reads a field of numbers.
func (a *counted) count(body string) bool {
	words := strings.Split(body, " ")
	to := map[string]*tally.Count{
		"yours": &a.home.found.Yours, "git": &a.home.found.Git, "caches": &a.home.found.Caches,
		"system": &a.system.found.Found,
	}[words[0]]
	if to == nil || len(words) != 4 || *to != (tally.Count{}) {
		return false
	}
	var numbers [3]int64
	for i, word := range words[1:] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n < 0 || i < 2 && n > maxCounted {
			return false
		}
		numbers[i] = n
	}
	*to = tally.Count{Files: int(numbers[0]), Folders: int(numbers[1]), Bytes: numbers[2]}
	return true
}

// maxCounted is more files than a guest's disk can hold.
const maxCounted = 1 << 32
