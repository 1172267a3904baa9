package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/calmenu/calmenu/internal/hint"
)

// ExitOptions say how AskExit behaves.
type ExitOptions struct {
	Workspace, Agent string // for people
	Yes              bool   // ask nothing: keep
	Colour           bool
	// Disposable: the workspace itself goes at the end of its session, unless it is kept.
	Disposable bool
}

// ExitResult is what followed the end of an agent.
type ExitResult struct {
	RolledBack bool
	Snapshot   string // what Actions.Snapshot said; empty: none was taken
	Discard    bool   // a disposable workspace is to go
}

// AskExit lists the work at risk after an agent has ended, offers to commit and push it, and asks whether the state of the
// VM is kept, rolled back or kept as a snapshot; what is chosen is done. Of a disposable workspace it asks whether it goes,
// and leaves that to the caller. It prints below what is there and needs 40 columns.
// The default, and the answer of a terminal that is closed, is to keep. What failed was shown and is asked again; the error
// returned is that of the terminal.
func AskExit(ctx context.Context, tty *os.File, out io.Writer, a Actions, r Risk, o ExitOptions) (ExitResult, error) {
	if o.Yes {
		return ExitResult{}, nil
	}
	s, err := openInline(ctx, tty, out)
	if err != nil {
		return ExitResult{}, err
	}
	defer s.close()
	e := exitTalk{inline: s, flows: flows{dialog: &dialog{surface: s, ctx: ctx, colour: o.Colour}, do: a}, o: o}
	e.say(fmt.Sprintf("%s has ended.", flat(o.Agent)))
	if !r.None() {
		for _, line := range riskLines(r, "is at risk") {
			e.say(line)
		}
		if err := e.repositories(); err != nil {
			return ExitResult{}, nil
		}
	}
	if o.Disposable {
		return e.disposal(r), nil
	}
	return e.state(), nil
}

// exitTalk is the conversation after the end of an agent. A printed line stays; questions are erased once answered.
type exitTalk struct {
	*inline
	flows flows
	o     ExitOptions
}

// choose shows a question with its keys until one of them is pressed. Enter is the first.
func (e *exitTalk) choose(question, foot, keys string) (rune, error) {
	for {
		_, cols := e.size()
		body := wrap(question, max(cols, 10))
		lines := []string{foot}
		if cells.StringWidth(foot) > cols {
			lines = wrap(foot, max(cols, 10))
		}
		e.show(frame{body: append(body, lines[:len(lines)-1]...), foot: lines[len(lines)-1]})
		k, err := e.flows.key()
		if err != nil {
			return 0, err
		}
		if k.kind == keyEnter || k.isBack() {
			return rune(keys[0]), nil
		}
		letter := hotkey(k)
		for _, r := range keys {
			if k.kind == keyRune && r == letter {
				return r, nil
			}
		}
	}
}

// repositories offers to commit and push, one repository after the other. It returns an error if nobody is there.
func (e *exitTalk) repositories() error {
	all, err := load(e.flows.dialog, "Looking at the repositories", e.flows.do.Repositories)
	if err != nil {
		return e.failed(err)
	}
	for _, r := range all {
		if r.Dirty {
			question := fmt.Sprintf("%s: %s", repositoryText(r), flat(r.Summary))
			answer, err := e.choose(question, "[L]eave  [C]ommit", "lc")
			if err != nil {
				return err
			}
			if answer == 'c' {
				said, err := e.flows.commitIn(r)
				if err := e.did(said, err); err != nil {
					return err
				}
				if err == nil {
					r.Unpushed = true
					r.Branch = "" // a commit may have made one, and has said so
				}
			}
		}
		if r.Unpushed {
			answer, err := e.choose(repositoryText(r)+" has commits that are not pushed.", "[L]eave  [P]ush", "lp")
			if err != nil {
				return err
			}
			if answer == 'p' {
				said, err := e.flows.pushIn(r)
				if err := e.did(said, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// did prints what an action came to. It returns an error if nobody is there any more.
func (e *exitTalk) did(said string, err error) error {
	if err != nil {
		return e.failed(err)
	}
	if said = flat(said); said == "" {
		said = "done"
	}
	e.say("✓ " + said)
	return nil
}

func (e *exitTalk) failed(err error) error {
	var none nothing
	switch {
	case errors.As(err, &none):
		e.say(none.Error())
	case errors.Is(err, errCancelled):
		e.say("Cancelled.")
	case errors.Is(err, errBack):
		select {
		case <-e.gone():
			return errBack
		default:
		}
	default:
		e.say("✗ " + flat(err.Error()))
		if h := hint.Of(err); h != "" {
			e.say("  " + h)
		}
	}
	return nil
}

// disposal asks whether a disposable workspace goes. Enter is that it does, unless work would go with it; the answer of
// nobody is that it stays.
func (e *exitTalk) disposal(r Risk) ExitResult {
	question, foot, keys := fmt.Sprintf("%s is disposable.", flat(e.o.Workspace)), "[D]elete it (Enter)  [K]eep it", "dk"
	if !r.None() {
		question += " What is listed above goes with it."
		foot, keys = "[K]eep it (Enter)  [D]elete it", "kd"
	}
	answer, err := e.choose(question, foot, keys)
	return ExitResult{Discard: err == nil && answer == 'd'}
}

// state asks what becomes of the VM's state.
func (e *exitTalk) state() ExitResult {
	question := fmt.Sprintf("What becomes of the state of %s?", flat(e.o.Workspace))
	for {
		answer, err := e.choose(question, "[K]eep (Enter)  [R]oll back  [S]napshot", "krs")
		if err != nil || answer == 'k' {
			return ExitResult{}
		}
		var said string
		if answer == 'r' {
			said, err = e.flows.rollback()
		} else {
			said, err = e.flows.snapshot()
		}
		if e.did(said, err) != nil {
			return ExitResult{}
		}
		switch {
		case err != nil: // it was said, and is asked again
		case answer == 'r':
			return ExitResult{RolledBack: true}
		default:
			return ExitResult{Snapshot: said}
		}
	}
}
