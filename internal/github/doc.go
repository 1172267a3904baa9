// Package github looks after the repositories in a guest: what would be lost with it (the survey of work at risk), how to
// save that (rescue branch, bundle), and the way from a change to a pull request.
//
// What must hold: everything that comes from the guest is hostile, so it is bounded in size and time, and cleaned before a
// person sees it; names travel apart by NUL bytes; what could not be found out counts as work at risk, and nothing is ever
// left out silently. A default branch is never pushed to and nothing is ever forced. A token travels on standard input
// alone, and secrets are never pushed by a rescue.
package github

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/calmenu/calmenu/internal/guest"
)

// Guest is where git runs; a *guest.Client is one.
type Guest interface {
	Output(ctx context.Context, cmd guest.Cmd) (guest.Result, error)
}

var _ Guest = (*guest.Client)(nil)

// Clean makes a text of the guest fit for a person: one line, no control or direction characters, at most limit runes.
func Clean(s string, limit int) string { return clean(s, limit) }

// clean makes a text of the guest fit for a person: one line, no control or direction characters, at most limit runes.
func clean(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteString("...")
			break
		}
		switch {
		case r == utf8.RuneError:
			r = '?'
		case !strconv.IsPrint(r):
			r = '?'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
