package snapshot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/calmenu/calmenu/internal/hint"
)

// letters begin the identifiers of each kind, so that the kind survives the loss of the catalogue: an undo is never taken
// for a person's own snapshot.
var letters = map[Kind]string{Manual: "m", Session: "a", Periodic: "p", Undo: "u"}

// newID returns an identifier that tells its kind and time, and is valid for every driver.
func newID(k Kind, now time.Time) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error since Go 1.24
	return fmt.Sprintf("%s%s%x", letters[k], now.UTC().Format("20060102150405"), b)
}

// kindOf returns the kind of a snapshot of which only the identifier is known. One that says nothing is taken for a
// person's, which nothing deletes by itself.
func kindOf(id string) Kind {
	for k, letter := range letters {
		if strings.HasPrefix(id, letter) && len(id) == len(letter)+14+6 {
			return k
		}
	}
	return Manual
}

const (
	maxName = 80  // characters
	maxNote = 500 // characters
)

// ValidName refuses names that a list, a menu or a terminal could not show safely.
func ValidName(name string) error {
	if name == "" || strings.TrimSpace(name) != name || !showable(name, maxName) {
		return hint.Errorf("Use 1 to 80 printable characters, with no space at either end.",
			"%q is not a name for a snapshot", name)
	}
	return nil
}

// ValidNote refuses notes that could not be shown safely. An empty one is no note.
func ValidNote(note string) error {
	if !showable(note, maxNote) {
		return hint.Errorf("Use up to 500 printable characters, in one line.", "%q is not a note", cut(note, maxName))
	}
	return nil
}

func showable(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// named tells whether a snapshot answers to the name already.
func named(list []Snapshot, name string) bool {
	return slices.ContainsFunc(list, func(s Snapshot) bool { return s.Name == name || s.ID == name })
}

// unused returns the name with a number if it is taken: a clock's second can hold two snapshots.
func unused(list []Snapshot, name string) string {
	numbered := name
	for n := 2; named(list, numbered); n++ {
		numbered = fmt.Sprintf("%s (%d)", name, n)
	}
	return numbered
}

// CanCreate tells, before anything is stopped or frozen for it, why a snapshot cannot be taken under its name and note.
func (c *Catalog) CanCreate(ctx context.Context, s Snapshot) error {
	list, err := c.List(ctx)
	if err != nil {
		return err
	}
	return canCreate(list, s)
}

func canCreate(list []Snapshot, s Snapshot) error {
	if s.Name != "" && named(list, s.Name) {
		return errTaken(s.Name)
	}
	var badName error
	if s.Name != "" {
		badName = ValidName(s.Name)
	}
	return errors.Join(badName, ValidNote(s.Note))
}

// ErrTaken is returned for a name that another snapshot of the workspace has. Nothing was changed then.
var ErrTaken = errors.New("another snapshot has that name already")

func errTaken(name string) error {
	return hint.Wrap(fmt.Errorf("%w: %q", ErrTaken, name), "Choose another name, or delete the other snapshot first.")
}
