package clone

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// TestInto keeps holes, takes no more than it is told to, and ends when the source becomes shorter.
func TestInto(t *testing.T) {
	dir := t.TempDir()
	open := func(name string) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	from := open("from")
	must(t, from.Truncate(8<<20))
	for _, at := range []int64{0, 3 << 20, 8<<20 - 4} {
		_, err := from.WriteAt([]byte("data"), at)
		must(t, err)
	}
	for _, size := range []int64{8 << 20, 3<<20 + 2, 0, 9 << 20} {
		to := open(fmt.Sprint("to", size))
		shared, err := Into(to, from, size)
		must(t, err)
		got, err := os.ReadFile(to.Name())
		must(t, err)
		want, err := os.ReadFile(from.Name())
		must(t, err)
		if !shared {
			want = append(want, make([]byte, 9<<20)...)[:size]
		}
		if !bytes.Equal(got, want) && size != 9<<20 {
			t.Errorf("%d bytes: %d came, not as they were", size, len(got))
		}
		info, err := to.Stat()
		must(t, err)
		if blocks := info.Sys().(*syscall.Stat_t).Blocks * 512; !shared && blocks > 1<<20 {
			t.Errorf("%d bytes take %d on the disk", size, blocks)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
