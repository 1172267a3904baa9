package clone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("content", 1<<16)
	source := filepath.Join(dir, "source")
	must(t, os.WriteFile(source, []byte(content), 0o755))
	from, err := os.Open(source)
	must(t, err)
	defer from.Close()
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	must(t, root.Mkdir("sub", 0o755))

	to, shared, err := File(from, root, "sub/copy", 0o640)
	must(t, err)
	defer to.Close()
	t.Logf("blocks shared: %v", shared)
	got, err := os.ReadFile(filepath.Join(dir, "sub", "copy"))
	must(t, err)
	a, err := from.Stat()
	must(t, err)
	b, err := to.Stat()
	must(t, err)
	if string(got) != content || os.SameFile(a, b) || b.Mode() != 0o640 {
		t.Errorf("%d bytes, mode %v, the same file: %v", len(got), b.Mode(), os.SameFile(a, b))
	}
	// What is there is not written to, and nothing follows a link.
	must(t, os.Symlink(source, filepath.Join(dir, "link")))
	for _, name := range []string{"sub/copy", "link", "../outside"} {
		if _, _, err := File(from, root, name, 0o600); err == nil {
			t.Errorf("%s was written to", name)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
