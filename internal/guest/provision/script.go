package provision

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/calmenu/calmenu/internal/guest"
)

// prelude begins every script. A report is one line: mark, what ran, step, exit code, last line printed; fields are
// separated by tabs.
const prelude = `R=${CAL_GUEST_ROOT-}
USER=${USER:-$(id -un)}
nl='
'
report() { printf '` + mark + `\t%s\t%s\t%s\t%.400s\n' "$1" "$2" "$3" "${4##*$nl}"; }
`

const mark = "@cal"

// What a report is about.
const (
	checked = "check"
	did     = "do"
)

// variables are shell assignments, in order.
func variables(vars map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "%s=%s\n", name, guest.Quote([]string{vars[name]}))
	}
	return b.String()
}

func function(kind, id, body string) string {
	return fmt.Sprintf("%s_%s() {\n%s\n}\n", kind, strings.ReplaceAll(id, "-", "_"), strings.TrimRight(body, "\n"))
}

// call runs a step's function in a shell of its own and reports how it ended. The functions are not written inside the
// substitution: bash 3.2 takes a case pattern's parenthesis there for its end.
func call(kind, id, setting, redirect string) string {
	return fmt.Sprintf("out=$(%s%s_%s %s); code=$?\nreport %s %s \"$code\" \"$out\"\n",
		setting, kind, strings.ReplaceAll(id, "-", "_"), redirect, kind, id)
}

// checkScript runs the checks of all steps, one after the other, with nothing to read.
func checkScript(steps List, vars map[string]string) string {
	var b strings.Builder
	b.WriteString(prelude + variables(vars))
	for i := range steps {
		b.WriteString(function(checked, steps[i].ID, steps[i].Check))
	}
	for i := range steps {
		b.WriteString(call(checked, steps[i].ID, "", "2>&1 </dev/null"))
	}
	return b.String()
}

// doScript does one step, which ends with its first command that fails, and checks it again.
func doScript(s *Step, vars map[string]string) string {
	return prelude + variables(vars) + "step=" + s.ID + "\n" + function(did, s.ID, s.Do) +
		function(checked, s.ID, s.Check) + call(did, s.ID, "set -e; ", "2>&1") +
		"[ \"$code\" = 0 ] || exit 0\n" + call(checked, s.ID, "", "2>&1 </dev/null")
}

// report is what a guest said of a step.
type report struct {
	code int
	text string
}

type reportKey struct{ kind, id string }

// parseReports reads what scripts printed; lines that are no reports are passed over. The first word on a step counts.
func parseReports(out []byte) map[reportKey]report {
	all := map[reportKey]report{}
	for line := range bytes.Lines(out) {
		fields := strings.SplitN(strings.TrimRight(string(line), "\r\n"), "\t", 5)
		if len(fields) != 5 || fields[0] != mark || fields[1] != checked && fields[1] != did {
			continue
		}
		code, err := strconv.Atoi(fields[3])
		key := reportKey{fields[1], fields[2]}
		if _, known := all[key]; known || err != nil || code < 0 || code > 255 {
			continue
		}
		all[key] = report{code, clean(fields[4])}
	}
	return all
}

// maxText bounds what is shown of a guest's word, in runes.
const maxText = 200

// clean makes one harmless line of what a guest printed.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if runes := []rune(strings.TrimSpace(s)); len(runes) > maxText {
		return string(runes[:maxText]) + "..."
	}
	return strings.TrimSpace(s)
}

// lastLine is the last line of text that says anything, cleaned.
func lastLine(text []byte) string {
	lines := strings.Split(string(text), "\n")
	for _, l := range slices.Backward(lines) {
		if l = clean(l); l != "" && !strings.HasPrefix(l, mark) {
			return l
		}
	}
	return ""
}
