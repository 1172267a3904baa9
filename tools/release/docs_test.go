package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestPlanIsWhole holds docs/macos.md together: steps are numbered without gaps, each says what to expect, each feature names
// steps that are there, and no step is without a feature.
func TestPlanIsWhole(t *testing.T) {
	text, err := os.ReadFile(repository + "/docs/macos.md")
	if err != nil {
		t.Fatal(err)
	}
	features, plan, _ := strings.Cut(string(text), "\n## Test plan")
	starts := regexp.MustCompile(`(?m)^([0-9]+)\. `).FindAllStringSubmatchIndex(plan, -1)
	for i, m := range starts {
		n, _ := strconv.Atoi(plan[m[2]:m[3]])
		end := len(plan)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		if n != i+1 || !strings.Contains(plan[m[0]:end], "**Expect:**") {
			t.Errorf("step %d is in place %d, or says nothing to expect", n, i+1)
		}
	}
	named := map[int]bool{}
	rows := regexp.MustCompile(`(?m)^\| (.*) \| .* \| ([0-9, ]+) \|$`).FindAllStringSubmatch(features, -1)
	if len(rows) < 20 {
		t.Errorf("%d features have steps", len(rows))
	}
	for _, row := range rows {
		for _, s := range strings.Split(row[2], ", ") {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 || n > len(starts) {
				t.Errorf("%s names step %q, of %d", row[1], s, len(starts))
			}
			named[n] = true
		}
	}
	for n := range len(starts) {
		// Cleaning up after the plan proves no feature of its own.
		if !named[n+1] && n+1 != 25 {
			t.Errorf("no feature names step %d", n+1)
		}
	}
}
