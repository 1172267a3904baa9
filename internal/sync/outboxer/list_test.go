package outboxer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/sync/wire"
)

// writes counts what is written at a time.
type writes struct{ n int }

func (w *writes) Write(b []byte) (int, error) {
	w.n++
	return len(b), nil
}

// TestListingComesAsItIsFound: who asks has something to do while the rest is looked for.
func TestListingComesAsItIsFound(t *testing.T) {
	dir := t.TempDir()
	const files, length = 2000, 200 // several batches
	for i := range files {
		name := fmt.Sprintf("%s%d", strings.Repeat(string(rune('a'+i%26)), length), i)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var to writes
	s := &server{box: wire.Outbox{Dir: dir, MaxEntries: 2 * files, MaxDepth: 1}, out: newOutput(&to)}
	s.list(wire.WholeOutbox, "")
	if least := files * length / batchBytes; to.n < least {
		t.Errorf("it came in %d pieces, not at least %d", to.n, least)
	}
}
