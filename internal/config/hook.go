package config

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Hook is a program of the host that runs on artifacts that have landed.
type Hook struct {
	Match   []string      // patterns of names; none: every artifact
	Argv    []string      // program and arguments, with placeholders in the arguments
	Timeout time.Duration // after which it is ended; default hookTimeout
	line    int
}

const (
	hookKey     = "on_artifact[]"
	hookTimeout = time.Minute
)

// HookPlaceholders are what may stand in the arguments of a hook, in braces.
var HookPlaceholders = []string{"path", "name", "workspace", "agent", "kind", "sha256", "size", "repository", "commit"}

var hookSchema = []entry[Hook]{
	{
		"match", listOf("name patterns such as *.ipa", isGlob), "artifacts it runs on; every one if it is left out",
		func(h *Hook, v any) { h.Match = v.([]string) },
	},
	{
		"argv", hookArgv(), "the program, by its absolute path, and its arguments. No shell takes part. In arguments, " +
			bracedPlaceholders() + " are replaced",
		func(h *Hook, v any) { h.Argv = v.([]string) },
	},
	{
		"timeout", duration(time.Second, time.Hour), "how long it may take before it is ended, with all it has started; " +
			"1m if it is left out",
		func(h *Hook, v any) { h.Timeout = v.(time.Duration) },
	},
}

// Runs tells whether a hook is for an artifact.
func (h Hook) Runs(name string) bool { return len(h.Match) == 0 || MatchName(h.Match, name) }

// MatchName tells whether a pattern of path.Match matches a name with slashes, or the last element of it.
func MatchName(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		whole, _ := path.Match(p, name)
		last, _ := path.Match(p, path.Base(name))
		return whole || last
	})
}

func bracedPlaceholders() string {
	return "{" + strings.Join(HookPlaceholders, "}, {") + "}"
}

// hookArgv is a command line whose program is the person's choice alone: an absolute path without placeholders. Nor may
// an argument begin with a placeholder whose text is the guest's: it could begin with a hyphen, and be an option.
func hookArgv() kind {
	k := listOf("a program's absolute path and its arguments", anyText)
	k.expected = "a list: a program's absolute path, then arguments, in which {name} and {repository} do not " +
		"stand first"
	k.parse = func(s string) (any, error) {
		if !printable(s) || !knownPlaceholders(s) {
			return nil, errInvalid
		}
		return s, nil
	}
	k.collect = func(all []string) (any, error) {
		if len(all) == 0 || !filepath.IsAbs(all[0]) || strings.ContainsAny(all[0], "{}") {
			return nil, errInvalid
		}
		for _, a := range all[1:] {
			for _, guests := range []string{"{name}", "{repository}"} {
				if strings.HasPrefix(a, guests) {
					return nil, errInvalid
				}
			}
		}
		return slices.Clone(all), nil
	}
	return k
}

func knownPlaceholders(s string) bool {
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "{")
		if !found {
			return true
		}
		word, after, closed := strings.Cut(after, "}")
		if !closed || !slices.Contains(HookPlaceholders, word) {
			return false
		}
		rest = after
	}
}

// readHook takes a value of on_artifact, and tells whether it is one.
func (c *Config) readHook(l leaf) bool {
	for _, e := range hookSchema {
		if l.pattern != hookKey+"."+e.key {
			continue
		}
		h := at(&c.Hooks, l.id)
		if h.line == 0 {
			h.line = l.line
		}
		e.put(h, l.value)
		return true
	}
	return false
}

// checkHooks finds hooks that run nothing, and fills in what was left out.
func (c *Config) checkHooks(file string, problems *Problems) {
	for i := range c.Hooks {
		h := &c.Hooks[i]
		if h.Timeout == 0 {
			h.Timeout = hookTimeout
		}
		if len(h.Argv) == 0 && problems.err() == nil {
			problems.add(Problem{
				File: file, Line: h.line, Column: 1, Key: fmt.Sprintf("on_artifact[%d]", i), What: "no argv",
				Expected: "a program to run",
			})
		}
	}
}
