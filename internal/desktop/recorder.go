package desktop

import (
	"context"
	"sync"
)

// Recorder is a Desktop for tests: it shows nothing, keeps what it was asked for, and answers questions from a script.
// The zero value is ready; a question beyond the script is cancelled.
type Recorder struct {
	// Answer, if set, answers questions in place of the script.
	Answer func(Question) (Answer, error)
	// Fail, if set, is asked before each call with the method's name ("Notify", "Terminal", ...); its error is
	// returned.
	Fail func(method string) error
	// Windows, if set, says whether there is such a window to raise; there is none otherwise.
	Windows func(Window) bool

	mu      sync.Mutex // guards everything below
	script  []Answer
	calls   Calls
	changed chan struct{} // closed and replaced at each call
}

// Calls is what a Recorder was asked for, each in order.
type Calls struct {
	Notifications []Notification
	Terminals     []TerminalRequest
	Questions     []Question
	Opened        []string
	Revealed      []string
	Copied        []string
	Raised        []Window // those asked for, also where there was none
}

var _ Desktop = (*Recorder)(nil)

// Script adds answers to the following questions.
func (r *Recorder) Script(answers ...Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = append(r.script, answers...)
}

// Calls returns a copy of what was asked for so far.
func (r *Recorder) Calls() Calls {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls.clone()
}

// Wait returns the calls as soon as done says they suffice, or the context's error.
func (r *Recorder) Wait(ctx context.Context, done func(Calls) bool) (Calls, error) {
	for {
		r.mu.Lock()
		calls := r.calls.clone()
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		if done(calls) {
			return calls, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return calls, context.Cause(ctx)
		}
	}
}

func (c Calls) clone() Calls {
	return Calls{
		Notifications: append([]Notification(nil), c.Notifications...),
		Terminals:     append([]TerminalRequest(nil), c.Terminals...),
		Questions:     append([]Question(nil), c.Questions...),
		Opened:        append([]string(nil), c.Opened...),
		Revealed:      append([]string(nil), c.Revealed...),
		Copied:        append([]string(nil), c.Copied...),
		Raised:        append([]Window(nil), c.Raised...),
	}
}

func (r *Recorder) record(ctx context.Context, method string, add func(*Calls)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if r.Fail != nil {
		if err := r.Fail(method); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	add(&r.calls)
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return nil
}

// Name implements Desktop.
func (r *Recorder) Name() string { return "recorder" }

// Notify implements Desktop.
func (r *Recorder) Notify(ctx context.Context, n Notification) error {
	return r.record(ctx, "Notify", func(c *Calls) { c.Notifications = append(c.Notifications, n) })
}

// Terminal implements Desktop.
func (r *Recorder) Terminal(ctx context.Context, t TerminalRequest) error {
	return r.record(ctx, "Terminal", func(c *Calls) { c.Terminals = append(c.Terminals, t) })
}

// Ask implements Desktop.
func (r *Recorder) Ask(ctx context.Context, q Question) (Answer, error) {
	if err := r.record(ctx, "Ask", func(c *Calls) { c.Questions = append(c.Questions, q) }); err != nil {
		return Answer{Cancelled: true}, err
	}
	if r.Answer != nil {
		return r.Answer(q)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.script) == 0 {
		return Answer{Cancelled: true}, nil
	}
	a := r.script[0]
	r.script = r.script[1:]
	return a, nil
}

// Open implements Desktop.
func (r *Recorder) Open(ctx context.Context, pathOrURL string) error {
	return r.record(ctx, "Open", func(c *Calls) { c.Opened = append(c.Opened, pathOrURL) })
}

// Reveal implements Desktop.
func (r *Recorder) Reveal(ctx context.Context, path string) error {
	return r.record(ctx, "Reveal", func(c *Calls) { c.Revealed = append(c.Revealed, path) })
}

// Raise implements Desktop.
func (r *Recorder) Raise(ctx context.Context, w Window) (bool, error) {
	err := r.record(ctx, "Raise", func(c *Calls) { c.Raised = append(c.Raised, w) })
	return err == nil && r.Windows != nil && r.Windows(w), err
}

// CopyText implements Desktop.
func (r *Recorder) CopyText(ctx context.Context, s string) error {
	return r.record(ctx, "CopyText", func(c *Calls) { c.Copied = append(c.Copied, s) })
}

// Close implements Desktop.
func (r *Recorder) Close() error { return nil }
