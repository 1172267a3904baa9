package provision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/vm"
)

// Shell runs commands in the guest; a *guest.Client does.
type Shell interface {
	Output(ctx context.Context, cmd guest.Cmd) (guest.Result, error)
}

// Runner sets one guest up.
type Runner struct {
	Shell Shell
	Steps List // those that apply
	// Vars are what the scripts know, by lower-case names. None is secret: they are a command's arguments.
	Vars map[string]string
	// Input makes what a step reads. It is called only if the step is done, each time it is.
	Input func(Input) ([]byte, error)
	// Before, unless nil, is called when all steps have been checked, before the first is done; its error ends Run.
	Before func() error
	// Slow gives every step four times its time: an emulated guest.
	Slow bool
}

// Outcome is how a step stands.
type Outcome string

// Outcomes of a step.
const (
	Held    Outcome = "held"    // it held before
	Done    Outcome = "done"    // it was done, and holds
	Missing Outcome = "missing" // it does not hold, and nothing was done
	Skipped Outcome = "skipped" // it cannot be done now
	Failed  Outcome = "failed"  // it was done, and does not hold
)

// Result is how a step stands, with the evidence or the reason.
type Result struct {
	Step    Step
	Outcome Outcome
	Detail  string
}

// Holds tells whether the guest is as the step wants it.
func (r Result) Holds() bool { return r.Outcome == Held || r.Outcome == Done }

// StepError says which step failed, and why, in the guest's own last words. The guest is set up as far as the step
// before it.
type StepError struct {
	Step   Step
	Reason string
}

func (e *StepError) Error() string {
	return fmt.Sprintf("setting up the guest: %s: %s", e.Step.Title, e.Reason)
}

const (
	checkTime = 30 * time.Second
	maxOutput = 1 << 20 // bytes: a command captures what its steps print and says one line of it
	notNow    = 75      // EX_TEMPFAIL of sysexits(3)
)

var varPattern = regexp.MustCompile(`^[a-z][a-z_]*$`)

// Check tells of every step whether it holds, by one command in the guest, and changes nothing.
func (r *Runner) Check(ctx context.Context) ([]Result, error) {
	if len(r.Steps) == 0 {
		return nil, nil
	}
	out, err := r.run(ctx, checkScript(r.Steps, r.Vars), nil, checkTime)
	if err != nil {
		return nil, fmt.Errorf("checking the guest's setup: %w", err)
	}
	reports := parseReports(out.Stdout)
	results := make([]Result, len(r.Steps))
	for i, s := range r.Steps {
		said, ok := reports[reportKey{checked, s.ID}]
		if !ok {
			return nil, fmt.Errorf("checking the guest's setup: no word on %q: %s", s.ID,
				or(lastLine(out.Stderr), "nothing at all"))
		}
		results[i] = s.result(said, Held, Missing)
	}
	return results, nil
}

func (s *Step) result(said report, good, bad Outcome) Result {
	if said.code == 0 {
		return Result{*s, good, or(said.text, s.Evidence)}
	}
	return Result{*s, bad, or(said.text, fmt.Sprintf("it does not hold (exit code %d)", said.code))}
}

// Run does what does not hold, in order, and stops at the first step that fails and is not optional: the error is a
// *StepError then. Results are of all steps, those that were not reached included.
func (r *Runner) Run(ctx context.Context, p vm.Progress) ([]Result, error) {
	results, err := r.Check(ctx)
	if err == nil && r.Before != nil {
		err = r.Before()
	}
	if err != nil {
		return nil, err
	}
	for i := range results {
		s := results[i].Step
		if results[i].Holds() {
			continue
		}
		if missing := unmet(s, results[:i]); missing != "" {
			results[i].Outcome, results[i].Detail = Skipped, "it needs "+missing
		} else {
			p.Report(vm.Phase{
				Name: fmt.Sprintf("setting up the guest: %s (%d of %d)", s.Title, i+1, len(results)),
			})
			if results[i], err = r.do(ctx, s); err != nil {
				return results, err
			}
		}
		if !results[i].Holds() && !s.Optional {
			return results, &StepError{s, results[i].Detail}
		}
	}
	return results, nil
}

// unmet is the title of a step that s needs and that does not hold; one that does not apply is not needed.
func unmet(s Step, before []Result) string {
	for _, id := range s.Needs {
		for _, b := range before {
			if b.Step.ID == id && !b.Holds() {
				return b.Step.Title
			}
		}
	}
	return ""
}

// do does one step. What the guest makes of it is in the result; an error is of the way there, or of the context.
func (r *Runner) do(ctx context.Context, s Step) (Result, error) {
	var stdin io.Reader
	if s.Input != "" {
		if r.Input == nil {
			return Result{}, &StepError{s, "there is nothing to give it"}
		}
		secret, err := r.Input(s.Input)
		if err != nil {
			return Result{}, fmt.Errorf("setting up the guest: %s: %w", s.Title, err)
		}
		stdin = bytes.NewReader(secret)
	}
	out, err := r.run(ctx, doScript(&s, r.Vars), stdin, s.Timeout)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Result{s, Failed, fmt.Sprintf("it did not end within %s", r.patience(s.Timeout))}, nil
	}
	var killed *guest.SignalError
	if errors.As(err, &killed) {
		return Result{s, Failed, killed.Error()}, nil
	}
	if err != nil {
		return Result{}, fmt.Errorf("setting up the guest: %s: %w", s.Title, err)
	}
	reports := parseReports(out.Stdout)
	done, ok := reports[reportKey{did, s.ID}]
	switch {
	case !ok:
		return Result{s, Failed, or(lastLine(out.Stderr), "the guest did not say how it ended")}, nil
	case done.code == notNow && s.Optional:
		return Result{s, Skipped, or(done.text, "not now")}, nil
	case done.code != 0:
		return Result{s, Failed, or(done.text, fmt.Sprintf("exit code %d", done.code))}, nil
	}
	again, ok := reports[reportKey{checked, s.ID}]
	if !ok {
		return Result{s, Failed, "the guest did not say whether it holds now"}, nil
	}
	return s.result(again, Done, Failed), nil
}

func (r *Runner) patience(d time.Duration) time.Duration {
	if r.Slow {
		return 4 * d
	}
	return d
}

func (r *Runner) run(
	ctx context.Context, script string, stdin io.Reader, patience time.Duration,
) (guest.Result, error) {
	for name := range r.Vars {
		if !varPattern.MatchString(name) {
			return guest.Result{}, fmt.Errorf("%q cannot name a variable", name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience(patience))
	defer cancel()
	return r.Shell.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", script}, Stdin: stdin, Limit: maxOutput})
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
