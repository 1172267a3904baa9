package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// events are what the go command prints of packages a and b, which run at once.
const events = `{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood","Time":"2026-01-17T14:30:00Z"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"    a_test.go:3: all is well\n"}
{"Action":"run","Package":"m/b","Test":"TestBad","Time":"2026-01-17T14:30:00Z"}
{"Action":"output","Package":"m/b","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"m/b","Test":"TestBad","Output":"    b_test.go:9: what a pity\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood","Time":"2026-01-17T14:30:07.5Z","Elapsed":0.25}
{"Action":"run","Package":"m/a","Test":"TestGuest"}
{"Action":"output","Package":"m/a","Test":"TestGuest","Output":"    vm_test.go:30: set CAL_TEST_VM=1: it boots\n"}
{"Action":"output","Package":"m/a","Test":"TestGuest","Output":"--- SKIP: TestGuest (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestGuest","Elapsed":0}
{"Action":"output","Package":"m/a","Test":"TestBoth/with a desk","Output":"    b_test.go:4: set CAL_TEST_DESKTOP=1: a desktop\n"}
{"Action":"skip","Package":"m/a","Test":"TestBoth/with a desk","Elapsed":0}
{"Action":"pass","Package":"m/a","Test":"TestBoth","Elapsed":1}
{"Action":"output","Package":"m/a","Output":"PASS\n"}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.5s\n"}
{"Action":"pass","Package":"m/a","Elapsed":0.5}
{"Action":"fail","Package":"m/b","Test":"TestBad","Elapsed":2}
{"Action":"output","Package":"m/b","Test":"TestPictures","Output":"    b_test.go:9: set CAL_TEST_PICTURES=1: pictures\n"}
{"Action":"skip","Package":"m/b","Test":"TestPictures","Elapsed":0}
{"Action":"output","Package":"m/b","Test":"TestCut","Output":"panic: test timed out\n"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b\t9s\n"}
{"Action":"fail","Package":"m/b","Elapsed":9}
`

func collect(t *testing.T, out *bytes.Buffer, packages bool) *collector {
	t.Helper()
	c := newCollector(out, packages)
	if err := c.follow(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPackagesAndWhatFailingTestsPrintedAreShown(t *testing.T) {
	var out bytes.Buffer
	collect(t, &out, true)
	want := "ok  \tm/a\t0.5s\n=== RUN   TestBad\n    b_test.go:9: what a pity\npanic: test timed out\nFAIL\tm/b\t9s\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTestsAreShownAsTheyEnd(t *testing.T) {
	var out bytes.Buffer
	collect(t, &out, false)
	for _, line := range []string{
		"pass     7.5 s  m/a  TestGood\n", // as long as its parallel subtests
		"pass     1.0 s  m/a  TestBoth\n", "fail     2.0 s  m/b  TestBad\n", "unfinished    0.0 s  m/b  TestCut\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q lacks %q", out.String(), line)
		}
	}
}

func TestOnlyWhatSkippedForWantOfAMachineIsPlanned(t *testing.T) {
	all := collect(t, &bytes.Buffer{}, true).results()
	jobs := plan(all, nil, nil)
	if len(jobs) != 1 || jobs[0].filter() != `^TestGuest$|^TestBoth$/^with a desk$` {
		t.Errorf("%+v", jobs)
	}
	for _, packages := range [][]string{{"m/a"}, {"./a"}, {"a/"}} {
		if len(plan(all, nil, packages)) != 1 {
			t.Errorf("not among %q", packages)
		}
	}
	if got := plan(all, nil, []string{"b"}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLongestPackageFirst(t *testing.T) {
	skipped := func(pkg string) result {
		return result{test: test{pkg, "TestVM"}, Outcome: "skip", Reason: "set CAL_TEST_VM=1"}
	}
	last := []result{{test: test{"m/b", "TestVM"}, Seconds: 9}, {test: test{"m/c", "TestVM/sub"}, Seconds: 99}}
	var got []string
	e2e := module + "internal/e2e"
	for _, j := range plan([]result{skipped("m/c"), skipped("m/a"), skipped("m/b"), skipped(e2e)}, last, nil) {
		got = append(got, j.pkg)
	}
	if diff := cmp.Diff([]string{"m/b", e2e, "m/a", "m/c"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatDidNotRunIsMissed(t *testing.T) {
	c := collect(t, &bytes.Buffer{}, true)
	wanted := []test{{"m/a", "TestGood"}, {"m/a", "TestGuest"}, {"m/b", "TestCut"}, {"m/b", "TestNowhere"}}
	missing := c.missing(wanted)
	if diff := cmp.Diff(wanted[2:], missing); diff != "" {
		t.Error(diff)
	}
	var out bytes.Buffer
	report(&out, c.results(), missing)
	const want = `
6 tests and 1 subtests: 2 passed, 2 failed, 3 skipped
  skipped    1: set CAL_TEST_DESKTOP=1: a desktop
    m/a TestBoth/with a desk
  skipped    1: set CAL_TEST_PICTURES=1: pictures
    m/b TestPictures
  skipped    1: set CAL_TEST_VM=1: it boots
    m/a TestGuest
  NOT RUN: m/b TestCut
  NOT RUN: m/b TestNowhere
slowest:
     7.5s  m/a TestGood
       2s  m/b TestBad
       1s  m/a TestBoth
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestMuchOutputIsCutAtItsBeginning(t *testing.T) {
	var kept tail
	for range 3 * outputLimit {
		kept.add("a")
	}
	kept.add("the end")
	if got := kept.text(); len(got) > 2*outputLimit+100 || !strings.HasSuffix(got, "the end") || !strings.HasPrefix(got, "[...]") {
		t.Errorf("%d bytes", len(got))
	}
}

// TestStages runs both stages on a module of its own.
func TestStages(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module m\n\ngo 1.25\n",
		"a/a_test.go": `package a

import (
	"os"
	"testing"
)

const lets = "CAL_TEST_VM"

func TestGuest(t *testing.T) {
	if os.Getenv(lets) != "1" {
		t.Skip("set CAL_TEST_VM=1: a guest")
	}
}

func TestFailsWithAMachine(t *testing.T) {
	if os.Getenv(lets) == "1" {
		t.Fatal("it was not to run again")
	}
}
`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("CAL_TEST_VM", "") // as in the stage this test is part of
	stage := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), args, &out, &out)
		return code, out.String()
	}
	code, out := stage("machines")
	for _, want := range []string{"skipped    1: set CAL_TEST_VM=1: a guest", "a: 1 tests", "1 tests and 0 subtests: 1 passed"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, %q not in:\n%s", code, want, out)
		}
	}
	if err := os.Remove(filepath.Join(dir, "a", "a_test.go")); err != nil {
		t.Fatal(err)
	}
	if code, out := stage("machines"); code != 1 || !strings.Contains(out, "NOT RUN: m/a TestGuest") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	for _, args := range [][]string{nil, {"nonsense"}, {"unit", "-lanes", "0"}, {"unit", "-nonsense"}} {
		if code, _ := stage(args...); code != 2 {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}
