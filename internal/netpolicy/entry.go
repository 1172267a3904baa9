package netpolicy

import (
	"fmt"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// presetPrefix marks a destination that stands for a preset's.
const presetPrefix = "preset:"

// ParseEntry reads an entry of a list of rules: "allow", "deny" or "ask" and a destination ("deny *.example.org"), or a
// destination alone, which is allowed. A destination is what ParseRule reads, or "preset:" and the name of a preset,
// which is as many rules as that has. origin is where the entry comes from.
func ParseEntry(text, origin string) ([]Rule, error) {
	action, rest := Allowing, text
	if word, after, ok := strings.Cut(text, " "); ok {
		if a, known := actions[word]; known {
			action, rest = a, strings.TrimLeft(after, " ")
		}
	}
	name, isPreset := strings.CutPrefix(rest, presetPrefix)
	if !isPreset {
		r, err := ParseRule(rest)
		if err != nil {
			return nil, err
		}
		r.Action, r.Origin = action, origin
		return []Rule{r}, nil
	}
	p, err := FindPreset(name)
	if err != nil {
		return nil, err
	}
	rules := make([]Rule, len(p.rules))
	for i, r := range p.rules {
		r.Action, r.Origin = action, strings.TrimPrefix(origin+", preset "+name, ", ")
		rules[i] = r
	}
	return rules, nil
}

// ParseDestination reads an entry of a list of allowed destinations: ParseEntry without an action.
func ParseDestination(text, origin string) ([]Rule, error) {
	if word, _, ok := strings.Cut(text, " "); ok {
		if _, known := actions[word]; known {
			return nil, hint.Wrap(fmt.Errorf("read network rule %q: %q does not belong here", text, word), ruleHint)
		}
	}
	return ParseEntry(text, origin)
}
