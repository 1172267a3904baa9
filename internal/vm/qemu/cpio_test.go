package qemu

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/vm"
)

func TestWriteSeed(t *testing.T) {
	var archive bytes.Buffer
	err := writeSeed(&archive, []vm.SeedFile{
		{Path: "/home/admin/.ssh/authorized_keys", Mode: 0o600, UID: 1000, GID: 1000, Data: []byte("key\n")},
		{Path: "/etc/hostname", Mode: 0o644, Data: []byte("demo\n")},
		{Path: "/home/admin/.ssh", Mode: os.ModeDir | 0o700, UID: 1000, GID: 1000},
		{Path: "/empty", Mode: 0o755},
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "seed.golden", strings.ReplaceAll(archive.String(), "\x00", "."))
	if archive.Len()%4 != 0 {
		t.Errorf("%d bytes: the next archive would not begin where the kernel looks", archive.Len())
	}
	// An independent reader agrees.
	if _, err := exec.LookPath("cpio"); err != nil {
		return
	}
	list := exec.CommandContext(t.Context(), "cpio", "-itv", "--quiet", "--numeric-uid-gid")
	list.Stdin = bytes.NewReader(archive.Bytes())
	out, err := list.CombinedOutput()
	if err != nil || strings.Count(string(out), "\n") != 8 {
		t.Errorf("cpio lists %v\n%s", err, out)
	}
}

func TestWriteSeedRefuses(t *testing.T) {
	for _, path := range []string{"", "/", "etc/passwd", "/../etc", "/etc/", "/etc//x", "/a/./b", "/a\x00b"} {
		if err := writeSeed(&bytes.Buffer{}, []vm.SeedFile{{Path: path}}); err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
	twice := []vm.SeedFile{{Path: "/a/b"}, {Path: "/a/b"}}
	if err := writeSeed(&bytes.Buffer{}, twice); err == nil {
		t.Error("a file named twice was accepted")
	}
}

func TestWithHostname(t *testing.T) {
	mine := []vm.SeedFile{{Path: "/etc/hostname", Data: []byte("mine\n")}}
	all := withHostname(mine, "demo")
	if len(all) != 2 || string(all[0].Data) != "mine\n" || all[1].Path != "/etc/hosts" || len(mine) != 1 {
		t.Errorf("%+v", all)
	}
}

func TestWriteModules(t *testing.T) {
	dir := t.TempDir()
	if err := writeModules(&bytes.Buffer{}, dir); err == nil {
		t.Error("an initrd without modules was written")
	}
	for _, name := range []string{"11-second.ko", "10-first.ko", "README"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if err := writeModules(&archive, dir); err != nil {
		t.Fatal(err)
	}
	text := archive.String()
	if first, second := strings.Index(text, "10-first"), strings.Index(text, "11-second"); first < 0 || second < first ||
		strings.Contains(text, "README") {
		t.Errorf("%q", text)
	}
}
