package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// lets are the variables without which tests that start a virtual machine or a desktop, or take long, skip themselves.
var lets = []string{"CAL_TEST_VM", "CAL_TEST_DESKTOP", "CAL_TEST_LONG"}

// asks matches how such a test says so.
var asks = regexp.MustCompile(`^set (` + strings.Join(lets, "|") + `)=1\b`)

// machines runs the tests of packages (none: all) that unit skipped for want of a machine, a desktop or time, in lanes: a guest
// that boots, and a test that waits for it, leave half of the computer idle.
func (s stage) machines(ctx context.Context, packages []string) error {
	before, err := load(filepath.Join(s.dir, "unit.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		if err = s.unit(ctx, nil); err == nil {
			before, err = load(filepath.Join(s.dir, "unit.jsonl"))
		}
	}
	if err != nil {
		return err
	}
	last, _ := load(filepath.Join(s.dir, "machines.jsonl")) // the first run has none
	jobs := plan(before, last, packages)
	var wanted []test
	for _, j := range jobs {
		wanted = append(wanted, j.tests...)
		fmt.Fprintf(s.out, "%s: %d tests\n", short(j.pkg), len(j.tests))
	}
	c := newCollector(s.out, false)
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var (
		lanes  sync.WaitGroup
		mu     sync.Mutex // guards failed
		failed error
	)
	for range s.lanes {
		lanes.Go(func() {
			for j := range queue {
				g := s.machineTest(j.pkg)
				g.filter = j.filter()
				if err := g.run(ctx, c); err != nil {
					mu.Lock()
					failed = errors.Join(failed, fmt.Errorf("%s: %w", short(j.pkg), err))
					mu.Unlock()
				}
			}
		})
	}
	lanes.Wait()
	return s.finish(c, "machines", s.again(ctx, c, failed, s.machineTest), wanted)
}

// machineTest is a run of a package's tests with what lets them start machines.
func (s stage) machineTest(pkg string) goTest {
	g := goTest{race: s.race, limit: machineLimit, packages: []string{pkg}, fresh: true}
	for _, v := range lets {
		g.env = append(g.env, v+"=1")
	}
	return g
}

// job is the tests of one package that are to run: they may share a machine.
type job struct {
	pkg     string
	tests   []test
	seconds float64 // what they took last time
}

// longest are the packages that take longest, first the longest, where no results of an earlier run tell.
var longest = []string{"internal/clitest", "internal/e2e", "internal/sessiontest", "internal/vm/qemu"}

// plan finds the tests to run by why they did not, the longest package first, so that no lane is left with it at the end.
func plan(before, last []result, packages []string) (jobs []job) {
	took := map[string]float64{}
	for _, r := range last {
		if !strings.Contains(r.Test, "/") {
			took[r.Package] += r.Seconds
		}
	}
	byPackage := map[string]*job{}
	for _, r := range before {
		if r.Outcome != "skip" || !asks.MatchString(r.Reason) || !among(packages, r.Package) {
			continue
		}
		j := byPackage[r.Package]
		if j == nil {
			j = &job{pkg: r.Package, seconds: took[r.Package]}
			byPackage[r.Package] = j
		}
		j.tests = append(j.tests, r.test)
	}
	for _, j := range byPackage {
		jobs = append(jobs, *j)
	}
	slices.SortFunc(jobs, func(a, b job) int {
		if a.seconds != b.seconds {
			return cmp.Compare(b.seconds, a.seconds)
		}
		return cmp.Or(cmp.Compare(rank(a.pkg), rank(b.pkg)), strings.Compare(a.pkg, b.pkg))
	})
	return jobs
}

func rank(pkg string) int {
	if i := slices.Index(longest, short(pkg)); i >= 0 {
		return i
	}
	return len(longest)
}

// among tells whether a package is one of those asked for, by its path in the module or its end.
func among(packages []string, pkg string) bool {
	return len(packages) == 0 || slices.ContainsFunc(packages, func(p string) bool {
		p = strings.Trim(strings.TrimPrefix(p, "."), "/")
		return pkg == p || strings.HasSuffix(pkg, "/"+p)
	})
}

// filter is what -run takes for exactly these tests.
func (j job) filter() string {
	var all []string
	for _, t := range j.tests {
		var path []string
		for name := range strings.SplitSeq(t.Test, "/") {
			path = append(path, "^"+regexp.QuoteMeta(name)+"$")
		}
		all = append(all, strings.Join(path, "/"))
	}
	return strings.Join(all, "|")
}

func save(file string, all []result) error {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, r := range all {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("keeping the results: %w", err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("keeping the results: %w", err)
	}
	return nil
}

func load(file string) (all []result, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("reading the results in %s: %w", file, err)
		}
		all = append(all, r)
	}
	return all, nil
}
