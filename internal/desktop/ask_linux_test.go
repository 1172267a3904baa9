package desktop

import (
	"slices"
	"testing"
)

func TestZenityTakesLines(t *testing.T) {
	q := Question{Kind: Text, Title: "Commit", Text: "Message for demo", Initial: "first\nsecond"}
	args, input, err := zenity(q)
	if err != nil || input != "first\nsecond" {
		t.Fatalf("input %q, %v", input, err)
	}
	for _, want := range []string{"--title=Commit: Message for demo", "--text-info", "--editable", "--cancel-label=Cancel"} {
		if !slices.Contains(args, want) {
			t.Errorf("%q is not in %q", want, args)
		}
	}
	if a, err := parseAnswer(q, 0, "one\ntwo\n"); err != nil || a.Text != "one\ntwo" || a.Cancelled {
		t.Errorf("answer %+v, %v", a, err)
	}
	if a, err := parseAnswer(q, 1, "one\n"); err != nil || !a.Cancelled {
		t.Errorf("refused: %+v, %v", a, err)
	}
}
