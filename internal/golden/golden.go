// Package golden compares what a test produces with a file kept beside the test. Run the test with -update to write the
// files anew, and read the difference before committing it.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// Text compares text with a golden file.
func Text(t testing.TB, file, got string) {
	t.Helper()
	if want, ok := Load(t, file, []byte(got)); ok {
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("differs from %s (-want +got; -update rewrites it):\n%s", file, d)
		}
	}
}

// Load returns the golden file's content, after writing it if that was asked for, and whether there is one.
func Load(t testing.TB, file string, got []byte) ([]byte, bool) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("%v (-update writes it)", err)
		return nil, false
	}
	return want, true
}
