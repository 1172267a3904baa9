package catch

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

// TestALineThatCannotBeHad: the host is told each time, for it tries again; the log, which is short, has it once.
func TestALineThatCannotBeHad(t *testing.T) {
	var out bytes.Buffer
	k := &keeper{options: Options{Method: Off}, out: wire.NewWriter(&out)}
	why := errors.New("the direct connection: the host did not come")
	for range 3 {
		k.loseLine(nil, why)
	}
	k.loseLine(nil, errors.New("the serial port: in use"))
	k.loseLine(nil, why)
	told := wire.NewReader(&out)
	for i := range 5 {
		if f, err := told.Next(); err != nil || f.Kind != wire.State || !strings.Contains(string(f.Payload), `"line_problem":"the `) {
			t.Errorf("word %d to the host: %c %s, %v", i, f.Kind, f.Payload, err)
		}
	}
	var logged []string
	for line := range strings.Lines(k.log.String()) {
		logged = append(logged, strings.TrimSpace(line[len("2006-01-02 15:04:05 "):]))
	}
	const nothing = "nothing is caught; there is no line: "
	want := []string{nothing + why.Error(), nothing + "the serial port: in use", nothing + why.Error()}
	if strings.Join(logged, "\n") != strings.Join(want, "\n") {
		t.Errorf("logged %q", logged)
	}
}
