package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// frame is what a dialog shows. Its strings are stripped already and may hold styles; they are cut to the width. A frame
// without title and body is the bottom line alone.
type frame struct {
	title string
	body  []string
	foot  string
}

// surface is where dialogs take place: over the agent's screen, or below what a terminal holds.
type surface interface {
	size() (rows, cols int) // lines there are for a frame's body, and columns
	show(f frame)
	keys() <-chan key
	gone() <-chan struct{} // closed when nobody answers any more
}

// dialog asks the person. Its methods return errBack if the person would rather not.
type dialog struct {
	surface
	ctx    context.Context
	colour bool
	ahead  []key // typed while something was looked up
}

// maxAhead is how many keys are kept that are typed ahead.
const maxAhead = 256

var errBack = errors.New("the person went back")

// noticeTime is how long a result stays, and failureTime a failure, unless a key is pressed.
const (
	noticeTime  = 4 * time.Second
	failureTime = 20 * time.Second
)

// key waits for a key press; a resized terminal counts as one.
func (d *dialog) key() (key, error) {
	if len(d.ahead) > 0 {
		k := d.ahead[0]
		d.ahead = d.ahead[1:]
		return k, nil
	}
	select {
	case k := <-d.keys():
		return k, nil
	case <-d.gone():
	case <-d.ctx.Done():
	}
	return key{}, errBack
}

// pause waits until a key is pressed or the time is over. It shows f, again if the terminal is resized.
func (d *dialog) pause(f func() frame, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	d.ahead = nil
	for {
		d.show(f())
		select {
		case k := <-d.keys():
			if k.kind != keyResize {
				return
			}
		case <-timer.C:
			return
		case <-d.ctx.Done():
			return
		}
	}
}

// notice shows a result.
func (d *dialog) notice(sign, sgr, text string) {
	d.pause(func() frame { return frame{foot: d.paint(sign+" "+flat(text), sgr)} }, noticeTime)
}

// failure shows what failed and what to do.
func (d *dialog) failure(err error) {
	d.pause(func() frame {
		_, cols := d.size()
		var lines []string
		for _, s := range wrap(flat(err.Error()), max(cols-2, 10)) {
			lines = append(lines, d.paint(s, red))
		}
		if h := hint.Of(err); h != "" {
			lines = append(append(lines, ""), wrap(h, max(cols-2, 10))...)
		}
		return frame{title: "✗ That failed", body: lines, foot: "any key: back"}
	}, failureTime)
}

func (d *dialog) paint(s, sgr string) string {
	if !d.colour && (sgr == red || sgr == green || sgr == yellow) {
		return s
	}
	return paint(s, sgr, true)
}

// list lets the person choose one of items, which are stripped, and returns its index.
func (d *dialog) list(title string, items []string, foot string) (int, error) {
	at, top := 0, 0
	for {
		rows, _ := d.size()
		rows = max(rows, 1)
		top = max(min(top, at), at-rows+1, 0)
		f := frame{title: title, foot: foot}
		for i := top; i < min(len(items), top+rows); i++ {
			mark := "  "
			if i == at {
				mark = "▸ "
			}
			text := fmt.Sprintf("%s%d  %s", mark, i+1, items[i])
			if i == at {
				text = paint(text, bold, true)
			}
			f.body = append(f.body, text)
		}
		d.show(f)
		k, err := d.key()
		if err != nil {
			return 0, err
		}
		last := len(items) - 1
		switch {
		case k.kind == keyEnter:
			return at, nil
		case k.isBack() || k.is('q'):
			return 0, errBack
		case k.kind == keyUp || k.is('k'):
			at--
		case k.kind == keyDown || k.is('j'):
			at++
		case k.kind == keyPageUp:
			at -= rows
		case k.kind == keyPageDown:
			at += rows
		case k.kind == keyHome:
			at = 0
		case k.kind == keyEnd:
			at = last
		case k.kind == keyRune && k.r >= '1' && k.r <= '9' && int(k.r-'1') <= last:
			at = int(k.r - '1')
		}
		at = min(max(at, 0), last)
	}
}

func (k key) is(r rune) bool { return k.kind == keyRune && k.r == r }

// isBack tells whether a key means: rather not.
func (k key) isBack() bool {
	return k.kind == keyEscape || k.kind == keyPrefix || k.kind == keyCtrl && (k.r == 'c' || k.r == 'd')
}

// pager shows text until the person goes on, or back.
func (d *dialog) pager(title, text string) error {
	top := 0
	var lines []string
	width := -1
	for {
		rows, cols := d.size()
		rows = max(rows, 1)
		if cols != width {
			width, lines = cols, d.diffLines(text, max(cols, 10))
		}
		top = min(max(top, 0), max(len(lines)-rows, 0))
		end := min(top+rows, len(lines))
		place := fmt.Sprintf("%d-%d of %d", min(top+1, end), end, len(lines))
		d.show(frame{title: title, body: lines[top:end], foot: "Enter:Go on  Esc:Back  ↑↓ Space PgUp PgDn  " + place})
		k, err := d.key()
		if err != nil {
			return err
		}
		switch {
		case k.kind == keyEnter:
			return nil
		case k.isBack() || k.is('q'):
			return errBack
		case k.kind == keyUp || k.is('k'):
			top--
		case k.kind == keyDown || k.is('j'):
			top++
		case k.kind == keyPageUp || k.is('b'):
			top -= rows
		case k.kind == keyPageDown || k.is(' '):
			top += rows
		case k.kind == keyHome || k.is('g'):
			top = 0
		case k.kind == keyEnd || k.is('G'):
			top = len(lines)
		}
	}
}

// maxPagerText caps what the pager lays out, in bytes.
const maxPagerText = 1 << 20

// diffLines breaks text into lines of at most width columns; the signs of a difference are coloured.
func (d *dialog) diffLines(text string, width int) []string {
	cut := ""
	if len(text) > maxPagerText {
		text, cut = text[:maxPagerText], fmt.Sprintf("... and %d bytes more", len(text)-maxPagerText)
	}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(Printable(strings.TrimRight(line, "\r\n")), "\t", "    ")
		sgr := plain
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"), strings.HasPrefix(line, "diff "):
			sgr = bold
		case strings.HasPrefix(line, "+"):
			sgr = green
		case strings.HasPrefix(line, "-"):
			sgr = red
		}
		for {
			head := ansi.Truncate(line, width, "")
			if head == "" || len(head) >= len(line) {
				break
			}
			lines, line = append(lines, d.paint(head, sgr)), line[len(head):]
		}
		lines = append(lines, d.paint(line, sgr))
	}
	if cut != "" {
		lines = append(lines, cut)
	}
	if len(lines) == 0 {
		lines = []string{"(nothing)"}
	}
	return lines
}

// confirm asks a question below some lines. Only y agrees, or Enter where agreeing is harmless; what was typed before the
// question was there does not count.
func (d *dialog) confirm(title string, lines []string, question string, harmless bool) error {
	keys := "  [y]es  [N]o"
	if harmless {
		keys = "  [Y]es  [n]o"
	}
	top := 0
	d.ahead = nil
	var shown time.Time
	for {
		rows, cols := d.size()
		var body []string
		for _, s := range lines {
			body = append(body, wrap(s, max(cols-2, 10))...)
		}
		top = min(max(top, 0), max(len(body)-rows, 0))
		if shown.IsZero() {
			// Before it is shown: who answers at once must not be taken for one who typed ahead because this goroutine
			// was not scheduled between the two.
			shown = time.Now()
		}
		d.show(frame{title: title, body: body[top:min(len(body), top+rows)], foot: question + keys})
		k, err := d.key()
		if err != nil {
			return err
		}
		switch {
		case k.kind != keyResize && k.at.Before(shown): // typed before there was a question
		case k.is('y') || k.is('Y') || k.kind == keyEnter && harmless:
			return nil
		case k.is('n') || k.is('N') || k.isBack() || k.kind == keyEnter:
			return errBack
		case k.kind == keyUp:
			top--
		case k.kind == keyDown:
			top++
		case k.kind == keyPageUp:
			top -= rows
		case k.kind == keyPageDown:
			top += rows
		}
	}
}

// work does something that takes its time, and shows its progress. Ctrl-C cancels it; other keys mean nothing.
func work[T any](d *dialog, title string, do func(ctx context.Context, report vm.Progress) (T, error)) (T, error) {
	return during(d, title, do, func(key) {})
}

// load is work that answers a question. What is typed meanwhile is kept for what is asked next.
func load[T any](d *dialog, title string, do func(ctx context.Context) (T, error)) (T, error) {
	return during(d, title, func(ctx context.Context, _ vm.Progress) (T, error) { return do(ctx) }, func(k key) {
		if len(d.ahead) < maxAhead {
			d.ahead = append(d.ahead, k)
		}
	})
}

func during[T any](
	d *dialog, title string, do func(ctx context.Context, report vm.Progress) (T, error), typed func(key),
) (T, error) {
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	var mu sync.Mutex
	var phase vm.Phase
	news := make(chan struct{}, 1)
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := do(ctx, func(p vm.Phase) {
			mu.Lock()
			phase = p
			mu.Unlock()
			signalTo(news)
		})
		done <- result{v, err}
	}()
	begin := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	keys, cancelled := "Ctrl-C:Cancel", false
	var deadline <-chan time.Time
	ended := d.ctx.Done()
	for {
		mu.Lock()
		text := title + phaseText(phase)
		mu.Unlock()
		d.show(frame{foot: fmt.Sprintf("◐ %s · %d s  %s", text, int(time.Since(begin).Seconds()), keys)})
		select {
		case r := <-done:
			if cancelled && r.err != nil {
				r.err = errCancelled
			}
			return r.v, r.err
		case k := <-d.keys():
			if k.kind == keyCtrl && k.r == 'c' {
				cancel()
				keys, cancelled = "cancelling ...", true
			} else {
				typed(k)
			}
			continue
		case <-ended:
			// The terminal is going away: what is under way has its time to end cleanly.
			ended, deadline = nil, time.After(cancelTime)
			continue
		case <-deadline:
			var none T
			return none, errBack
		case <-news:
		case <-tick.C:
			continue
		}
		// Progress that comes in bursts is shown ten times a second.
		select {
		case r := <-done:
			if cancelled && r.err != nil {
				r.err = errCancelled
			}
			return r.v, r.err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// cancelTime is how long a cancelled action is waited for when the terminal has gone.
const cancelTime = 10 * time.Second

var errCancelled = errors.New("cancelled")

func phaseText(p vm.Phase) string {
	s := ""
	if p.Name != "" {
		s = ": " + flat(p.Name)
	}
	if p.Total > 0 {
		s += fmt.Sprintf(" %d%%", min(100, max(0, p.Done*100/p.Total)))
	}
	return s
}
