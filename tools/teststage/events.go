package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// event is one of the go command's (go doc test2json, go help buildjson).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Time       time.Time
	Elapsed    float64 // seconds, without those of parallel subtests
	Output     string
}

// test names a test, or a subtest by its path.
type test struct {
	Package string `json:"package"`
	Test    string `json:"test"`
}

// result is how a test ended.
type result struct {
	test
	Outcome string  `json:"outcome"` // pass, fail, skip; unfinished: it never ended; flaky
	Seconds float64 `json:"seconds"`
	Reason  string  `json:"reason,omitempty"` // of a skip, in the test's words
	final   bool    // it failed for a reason that running it again does not excuse
}

const unfinished = "unfinished"

// outputLimit is how many bytes of one test's output are kept for the case that it fails: its end.
const outputLimit = 256 << 10

// collector follows the events of any number of go commands, and prints what a person wants to see while they run: the
// packages or the tests that have ended, and everything that failing ones printed.
type collector struct {
	out      io.Writer
	packages bool // print packages, not tests

	mu     sync.Mutex // guards what follows, and out
	all    []result
	began  map[test]time.Time
	output map[test]*tail
	failed map[string]bool // packages
}

func newCollector(out io.Writer, packages bool) *collector {
	return &collector{out: out, packages: packages, began: map[test]time.Time{}, output: map[test]*tail{}, failed: map[string]bool{}}
}

// follow reads the events of one go command. What is no event is passed on as it is.
func (c *collector) follow(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				c.add(e)
			} else {
				c.print(string(line))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading test events: %w", err)
		}
	}
}

func (c *collector) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprint(c.out, text)
}

func (c *collector) add(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(c.out, e.Output)
	case "output":
		if c.output[name] == nil {
			c.output[name] = &tail{}
		}
		c.output[name].add(e.Output)
	case "run":
		c.began[name] = e.Time
	case "pause":
		delete(c.began, name) // it waits for others
	case "cont":
		c.began[name] = e.Time
	case "pass", "fail", "skip":
		if e.Test == "" {
			c.endPackage(e)
			break
		}
		took := e.Elapsed
		if at, ok := c.began[name]; ok { // not so where all this is from the cache
			took = max(took, e.Time.Sub(at).Seconds())
		}
		c.end(result{test: name, Outcome: e.Action, Seconds: took})
	}
}

// end notes how a test ended, and prints what it printed if it failed.
func (c *collector) end(r result) {
	said := c.output[r.test].text()
	delete(c.output, r.test)
	if r.Outcome == "skip" {
		r.Reason = reason(said)
	}
	r.final = r.Outcome == "fail" && never.MatchString(said)
	c.all = append(c.all, r)
	if r.Outcome == "fail" || r.Outcome == unfinished {
		fmt.Fprint(c.out, said)
	}
	if !c.packages && !strings.Contains(r.Test, "/") && r.Outcome != "skip" {
		fmt.Fprintf(c.out, "%-5s %6.1f s  %s  %s\n", r.Outcome, r.Seconds, short(r.Package), r.Test)
	}
}

// endPackage notes tests of a package that never ended, and prints what the package itself printed.
func (c *collector) endPackage(e event) {
	for name := range c.output {
		if name.Package == e.Package && name.Test != "" {
			c.end(result{test: name, Outcome: unfinished})
		}
	}
	if e.Action == "fail" {
		c.failed[e.Package] = true
	}
	name := test{Package: e.Package}
	said := c.output[name].text()
	delete(c.output, name)
	for line := range strings.Lines(said) {
		if c.packages || e.Action == "fail" {
			if line != "PASS\n" {
				fmt.Fprint(c.out, line)
			}
		}
	}
}

// results are those of all tests so far.
func (c *collector) results() []result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]result(nil), c.all...)
}

// missing lists the tests among wanted that did not end, whichever way.
func (c *collector) missing(wanted []test) (missing []test) {
	ended := map[test]bool{}
	for _, r := range c.results() {
		ended[r.test] = r.Outcome != unfinished
	}
	for _, t := range wanted {
		if !ended[t] {
			missing = append(missing, t)
		}
	}
	return missing
}

var (
	frame = regexp.MustCompile(`^\s*(=== |--- )`)
	place = regexp.MustCompile(`^\s*\S+\.go:\d+: `)
)

// reason is what a test that skipped itself printed last.
func reason(said string) string {
	last := "it does not say why"
	for line := range strings.Lines(said) {
		if !frame.MatchString(line) {
			last = strings.TrimSpace(place.ReplaceAllString(line, ""))
		}
	}
	return last
}

// tail keeps the end of what is added.
type tail struct {
	buf bytes.Buffer
	cut bool
}

func (t *tail) add(s string) {
	t.buf.WriteString(s)
	if over := t.buf.Len() - outputLimit; over > outputLimit { // now and then
		t.buf.Next(over)
		t.cut = true
	}
}

func (t *tail) text() string {
	if t == nil {
		return ""
	}
	if t.cut {
		return "[...]\n" + t.buf.String()
	}
	return t.buf.String()
}
