package corpus

import (
	"fmt"
	"slices"
	"strings"
)

// Judge compares what became of the cases with their verdicts and returns what is wrong. missing are the cases that could
// not be made, shown makes of a name what a report shows of it.
func Judge(
	cases []Case, missing map[string]bool, landed []string, refused map[string]string, shown func(string) string,
) (wrong []string) {
	left := make(map[string]string, len(refused))
	for name, reason := range refused {
		left[name] = reason
	}
	for _, c := range cases {
		name := shown(c.Name)
		reason := left[name]
		delete(left, name)
		// A reason that names something long is cut as it is shown.
		want := shown(c.Reason)
		want = want[:min(len(want), 150)]
		switch {
		case missing[c.What]:
		case c.Reason == "" && (reason != "" || !slices.Contains(landed, c.Name)):
			wrong = append(wrong, fmt.Sprintf("%s: %q does not land: %s", c.What, name, reason))
		case c.Reason != "" && (reason == "" || !strings.HasPrefix(reason, want)):
			wrong = append(wrong, fmt.Sprintf("%s: %q: reason %q, want %q", c.What, name, reason, c.Reason))
		}
	}
	if len(left) > 0 {
		wrong = append(wrong, fmt.Sprintf("refused beyond the corpus: %v", left))
	}
	return wrong
}
