package provision

import (
	"strings"
	"testing"
	"unicode"
)

func FuzzReports(f *testing.F) {
	f.Add("@cal\tcheck\tkey\t0\tthe key is in\n@cal\tdo\tkey\t1\t\x1b[31mno\n")
	f.Add("@cal\tcheck\tkey\t0\n@cal\t\t\t\t\n\xff\xfe")
	f.Fuzz(func(t *testing.T, out string) {
		for key, r := range parseReports([]byte(out)) {
			if r.code < 0 || r.code > 255 || key.kind != checked && key.kind != did {
				t.Errorf("%+v: %+v", key, r)
			}
			odd := strings.ContainsFunc(r.text, func(c rune) bool { return !unicode.IsPrint(c) })
			if odd || len([]rune(r.text)) > maxText+3 {
				t.Errorf("what is shown of it: %q", r.text)
			}
		}
		if l := lastLine([]byte(out)); strings.ContainsFunc(l, func(c rune) bool { return !unicode.IsPrint(c) }) {
			t.Errorf("last line: %q", l)
		}
	})
}
