// Package isolation turns each claim CALMenu makes about a workspace into a check with evidence.
//
// What must hold: a claim counts only if it was tried just now against the machine that really runs. A check that fails,
// or that could not be evaluated, breaks the whole: unknown is never safe. What the user chose to weaken is said, not
// hidden. The guest is hostile: where a check runs something inside it, the verdict rests on what the host saw.
package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
)

// Level is the verdict over all checks.
type Level string

// The levels, from best to worst. Unknown is the level of a workspace that was never checked since it started.
const (
	Verified Level = "verified" // every claim holds
	Weakened Level = "weakened" // every claim holds but for what the user chose otherwise
	Broken   Level = "broken"   // a claim fails, or could not be evaluated
	Unknown  Level = "unknown"
)

// Outcome is the verdict of one check.
type Outcome string

// The outcomes of a check.
const (
	Pass    Outcome = "pass"
	Weak    Outcome = "weak"
	Fail    Outcome = "fail"
	NoProof Outcome = "no proof" // it could not be evaluated
)

// Result is one check's outcome.
type Result struct {
	ID       string        `json:"id"`
	Claim    string        `json:"claim"`
	Outcome  Outcome       `json:"outcome"`
	Reason   string        `json:"reason,omitempty"` // why it is not a pass: one sentence
	Evidence string        `json:"evidence,omitempty"`
	Took     time.Duration `json:"took"`
}

// Report is the outcome of all checks of one workspace at one time.
type Report struct {
	Workspace string    `json:"workspace"`
	Time      time.Time `json:"time"`
	Level     Level     `json:"level"`
	Reason    string    `json:"reason,omitempty"` // of the first result that decides the level
	PID       int       `json:"pid"`              // of the machine's process the report is about
	Results   []Result  `json:"results"`
}

// Passed counts the checks that hold.
func (r Report) Passed() int {
	n := 0
	for _, x := range r.Results {
		if x.Outcome == Pass {
			n++
		}
	}
	return n
}

// againSoon is how long after claims that could not be evaluated they are tried again.
const againSoon = 5 * time.Second

// Due is when the claims are to be tried again that are tried every so often: earlier if one could not be evaluated. What kept
// it from being, a guest that stood still for a moment, is no lasting reason to call isolation broken.
func (r Report) Due(every time.Duration) time.Time {
	for _, x := range r.Results {
		if x.Outcome == NoProof {
			return r.Time.Add(min(every, againSoon))
		}
	}
	return r.Time.Add(every)
}

// judge derives level and reason from the results.
func judge(results []Result) (Level, string) {
	if len(results) == 0 {
		return Unknown, "nothing was checked"
	}
	level, reason := Verified, ""
	for _, r := range results {
		switch r.Outcome {
		case Pass:
		case Weak:
			if level == Verified {
				level, reason = Weakened, r.Reason
			}
		default:
			if level != Broken {
				level, reason = Broken, r.Reason
			}
		}
	}
	return level, reason
}

// check is one claim and how it is tried.
type check struct {
	id, claim string
	try       func(context.Context, *Subject) (Outcome, string, string) // outcome, reason, evidence
}

// checkTime bounds one check; under emulation a process in the guest may take a second to start.
const checkTime = 30 * time.Second

// Run tries every claim against the running machine. It always returns a report; what went wrong is in it.
func Run(ctx context.Context, s *Subject) Report {
	r := Report{Workspace: s.Name, Time: time.Now(), Results: make([]Result, len(checks))}
	if m, err := s.Driver.Machine(ctx, s.Name); err == nil {
		r.PID = m.PID
	}
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTime)
			defer cancel()
			start := time.Now()
			res := Result{ID: c.id, Claim: c.claim}
			res.Outcome, res.Reason, res.Evidence = c.try(ctx, s)
			res.Took = time.Since(start)
			r.Results[i] = res
		})
	}
	wg.Wait()
	r.Level, r.Reason = judge(r.Results)
	return r
}

const fileName = "isolation.json"

// Save keeps a report in the workspace's directory, for the processes that only show it.
func Save(dir string, r Report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the isolation report: %w", err)
	}
	return atomicfile.Write(filepath.Join(dir, fileName), b, 0o600)
}

// Load returns the last report saved for a workspace; a zero report of level Unknown if there is none.
func Load(dir string) (Report, error) {
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return Report{Level: Unknown}, nil
	}
	if err != nil {
		return Report{Level: Unknown}, fmt.Errorf("reading the isolation report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{Level: Unknown}, fmt.Errorf("reading the isolation report: %w", err)
	}
	return r, nil
}

// Discard removes the saved report: what was proven of a machine that has ended says nothing about the next one.
func Discard(dir string) error {
	if err := os.Remove(filepath.Join(dir, fileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discarding the isolation report: %w", err)
	}
	return nil
}
