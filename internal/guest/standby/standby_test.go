package standby

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for _, argv := range [][]string{{"version"}, {"changes", "", "a b\n'", "ü"}, {strings.Repeat("x", maxWords)}} {
		in := strings.NewReader(Words(argv) + "the rest")
		got, err := Read(in)
		if err != nil || !slices.Equal(got, argv) {
			t.Errorf("%.40q became %.40q, %v", argv, got, err)
		}
		if rest, _ := io.ReadAll(in); string(rest) != "the rest" {
			t.Errorf("%q was left", rest)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	if _, err := Read(strings.NewReader("")); !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %v", err)
	}
	for _, s := range []string{"0", "000000", "00000x", "-00001", "000002a", Words([]string{strings.Repeat("x", maxWords+1)})} {
		if got, err := Read(strings.NewReader(s)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%.20q became %.20q, %v", s, got, err)
		}
	}
}
