package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// flaky is the outcome of a test that failed, and passed when it was run again alone. Its stage does not fail; it is
// printed in full when it fails, and named by the report, since it wants mending.
const flaky = "flaky"

// maxAgain is how many tests of a stage are run again at most. More than these do not fail by chance.
const maxAgain = 3

// never matches what a test prints that failed for a reason that no second run can excuse.
var never = regexp.MustCompile(`(?m)WARNING: DATA RACE|race detected during execution of test|^\s*(panic|fatal error): `)

// again runs the tests that failed in a stage once more, alone, as like says; failed is the stage's error so far. It
// returns nil if all of them passed now, and failed otherwise. Real machines and clocks on a computer that has other work
// can make any test fail once, and one in a thousand must not undo the run of the rest.
func (s stage) again(ctx context.Context, c *collector, failed error, like func(pkg string) goTest) error {
	jobs := c.chances()
	if failed == nil || len(jobs) == 0 || ctx.Err() != nil {
		return failed
	}
	for _, j := range jobs {
		fmt.Fprintf(s.out, "once more, alone: %s %s\n", short(j.pkg), j.filter())
		second := newCollector(s.out, false)
		g := like(j.pkg)
		g.filter, g.fresh = j.filter(), true
		if err := g.run(ctx, second); err != nil || len(second.missing(j.tests)) > 0 || second.skipped(j.tests) {
			return failed
		}
	}
	c.excuse()
	return nil
}

// chances lists what may be run again: the failed tests without those above them. It lists none if there is a failure
// among the others that counts by itself.
func (c *collector) chances() (jobs []job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	leaves := map[string][]test{}
	n := 0
	for _, r := range c.all {
		if r.Outcome == unfinished || r.final {
			return nil
		}
		if r.Outcome != "fail" {
			continue
		}
		above := slices.ContainsFunc(c.all, func(o result) bool {
			return o.Outcome == "fail" && o.Package == r.Package && strings.HasPrefix(o.Test, r.Test+"/")
		})
		if !above {
			leaves[r.Package] = append(leaves[r.Package], r.test)
			n++
		}
	}
	for pkg := range c.failed { // a package that does not build, or fails beside its tests
		if leaves[pkg] == nil {
			return nil
		}
	}
	if n > maxAgain {
		return nil
	}
	for pkg, tests := range leaves {
		jobs = append(jobs, job{pkg: pkg, tests: tests})
	}
	slices.SortFunc(jobs, func(a, b job) int { return strings.Compare(a.pkg, b.pkg) })
	return jobs
}

// skipped tells whether one of the tests skipped itself.
func (c *collector) skipped(tests []test) bool {
	return slices.ContainsFunc(c.results(), func(r result) bool {
		return r.Outcome == "skip" && slices.Contains(tests, r.test)
	})
}

// excuse makes failed tests flaky ones.
func (c *collector) excuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.all {
		if c.all[i].Outcome == "fail" {
			c.all[i].Outcome = flaky
		}
	}
}
