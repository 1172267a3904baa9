package qemu

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCovered compares with what is left after qemu-img has merged the layers.
func TestCovered(t *testing.T) {
	dir := t.TempDir()
	run := func(argv ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, out)
		}
	}
	run("qemu-img", "create", "-q", "-f", "qcow2", "base", "3G")
	run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base", "below")
	run("qemu-io", "-c", "write -P 1 0 1M", "-c", "write -P 1 1G 1M", "-c", "write -P 1 2G 64k", "below")
	run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "below", "above")
	name := func(s string) string { return filepath.Join(dir, s) }
	if n, err := covered(name("below"), name("above")); err != nil || n != 0 {
		t.Errorf("nothing is written anew, but %d bytes are, %v", n, err)
	}
	run("qemu-io", "-c", "write -P 2 512k 1M", "-c", "write -z 1G 256k", "-c", "write -P 2 1536M 1M", "above")
	if n, err := covered(name("below"), name("above")); err != nil || n != 512<<10+256<<10 {
		t.Errorf("%d bytes are written anew, %v; want 768 KiB", n, err)
	}
	for what, content := range map[string]string{
		"empty": "", "short": "QFI\xfb\x00\x00\x00\x03", "text": string(make([]byte, 4096)),
	} {
		if err := os.WriteFile(name("odd"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := covered(name("odd"), name("above")); err == nil {
			t.Errorf("a file that is %s was read", what)
		}
	}
}

func FuzzQcow2(f *testing.F) {
	f.Add([]byte("QFI\xfb\x00\x00\x00\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = covered(name, name)
	})
}
