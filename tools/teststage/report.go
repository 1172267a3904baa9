package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// slowest is how many tests the report names.
const slowest = 15

// module is what the names of all packages begin with.
const module = "github.com/calmenu/calmenu/"

func short(pkg string) string { return strings.TrimPrefix(pkg, module) }

// report prints how many tests ran, which did not and why, and which took longest.
func report(w io.Writer, all []result, missing []test) {
	count := map[string]int{}
	var tests []result // without subtests
	why := map[string][]string{}
	for _, r := range all {
		if !strings.Contains(r.Test, "/") {
			tests = append(tests, r)
		}
		count[r.Outcome]++
		if r.Outcome == "skip" {
			why[r.Reason] = append(why[r.Reason], short(r.Package)+" "+r.Test)
		}
	}
	fmt.Fprintf(w, "\n%d tests and %d subtests: %d passed, %d failed, %d skipped\n", len(tests), len(all)-len(tests),
		count["pass"], count["fail"]+count[unfinished], count["skip"])
	for _, r := range all {
		if r.Outcome == flaky {
			fmt.Fprintf(w, "  FLAKY: failed, and passed alone: %s %s\n", short(r.Package), r.Test)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		fmt.Fprintf(w, "  skipped %4d: %s\n", len(why[reason]), reason)
		for i, t := range why[reason] {
			if i == 4 {
				fmt.Fprintf(w, "    and %d more\n", len(why[reason])-i)
				break
			}
			fmt.Fprintf(w, "    %s\n", t)
		}
	}
	for _, t := range missing {
		fmt.Fprintf(w, "  NOT RUN: %s %s\n", short(t.Package), t.Test)
	}
	slices.SortStableFunc(tests, func(a, b result) int { return int(1000 * (b.Seconds - a.Seconds)) })
	if len(tests) > 0 && tests[0].Seconds >= 1 {
		fmt.Fprintln(w, "slowest:")
	}
	for _, r := range tests[:min(slowest, len(tests))] {
		if r.Seconds < 1 {
			break
		}
		fmt.Fprintf(w, "  %7s  %s %s\n", seconds(r.Seconds).Round(time.Second/10), short(r.Package), r.Test)
	}
}

// seconds is a duration of so many.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
