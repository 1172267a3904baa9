package renewal

import (
	"strings"
	"testing"
	"time"
)

func TestWhatIsNoTimeIsRefused(t *testing.T) {
	t.Parallel()
	if got, err := parse("1700000000.000000005"); err != nil || !got.Equal(time.Unix(1_700_000_000, 5)) {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{
		"", "1700000000", "1700000000.5", "-1.000000000", "0.000000000", "1700000000.00000000x", "x.000000000",
		"1700000000.-00000001", "@1700000000.000000000",
	} {
		if got, err := parse(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestWhatIsNoEntropyIsRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, EntropyMax + 1} {
		if err := Stir(make([]byte, n)); err == nil || !strings.Contains(err.Error(), "entropy") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
