// Package lazyre has regular expressions that are compiled when they are first used. A command uses few of all there are, and
// compiling them took half of what a short one takes; what they need stays in memory, where the garbage collector passes it again
// and again.
package lazyre

import (
	"os"
	"regexp"
	"strings"
	"sync"
)

// Regexp is a regular expression; see package regexp for what its methods do. Several goroutines may use it.
type Regexp struct{ compiled func() *regexp.Regexp }

// New returns a regular expression. A malformed one panics when it is first used, in a test at once.
func New(expr string) *Regexp {
	r := &Regexp{compiled: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })}
	if inTest {
		r.compiled()
	}
	return r
}

// inTest is how the standard library's own internal/lazyregexp tells.
var inTest = len(os.Args) > 0 && strings.HasSuffix(os.Args[0], ".test")

func (r *Regexp) MatchString(s string) bool { return r.compiled().MatchString(s) }

func (r *Regexp) Match(b []byte) bool { return r.compiled().Match(b) }

func (r *Regexp) FindString(s string) string { return r.compiled().FindString(s) }

func (r *Regexp) FindStringSubmatch(s string) []string { return r.compiled().FindStringSubmatch(s) }

func (r *Regexp) FindAllString(s string, n int) []string { return r.compiled().FindAllString(s, n) }

func (r *Regexp) ReplaceAllString(src, repl string) string {
	return r.compiled().ReplaceAllString(src, repl)
}

// String returns the expression.
func (r *Regexp) String() string { return r.compiled().String() }
