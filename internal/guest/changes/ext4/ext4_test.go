package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// image makes a file system with 300 files of names f0 to f299, a folder, a link and a fifo, all of the year 2001, but for
// what commands to debugfs change.
func image(t testing.TB, options []string, commands ...string) *os.File {
	t.Helper()
	for _, tool := range []string{"mke2fs", "debugfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "image")
	run := func(argv ...string) {
		t.Helper()
		cmd := exec.Command(argv[0], argv[1:]...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", argv[0], err, out)
		}
	}
	argv := append([]string{"mke2fs", "-q", "-F", "-t", "ext4", "-N", "4096"}, options...)
	run(append(argv, file, "8M")...)
	var script strings.Builder
	old := func(name string) { fmt.Fprintf(&script, "sif %s ctime 20010101\n", name) }
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("twelve bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		fmt.Fprintf(&script, "write %s f%d\n", empty, i)
		old(fmt.Sprintf("/f%d", i))
	}
	script.WriteString("mkdir dir\nsymlink link f1\nmknod fifo p\n")
	for _, name := range []string{"/dir", "/link", "/fifo", "/", "/lost+found"} {
		old(name)
	}
	script.WriteString(strings.Join(commands, "\n") + "\n")
	cmds := filepath.Join(dir, "commands")
	if err := os.WriteFile(cmds, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run("debugfs", "-w", "-f", cmds, file)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestSince(t *testing.T) {
	for name, options := range map[string][]string{
		"as Debian makes them":  nil,
		"small blocks":          {"-b", "1024"},
		"many groups":           {"-b", "1024", "-g", "1024"},
		"without checksums":     {"-O", "^metadata_csum"},
		"without group sums":    {"-O", "^metadata_csum,^uninit_bg"},
		"with 32 bits":          {"-O", "^64bit"},
		"large inodes":          {"-I", "512"},
		"without groups joined": {"-b", "1024", "-g", "1024", "-O", "^flex_bg"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := image(t, options,
				"sif /f7 ctime 20200101", "sif /f7 size 77", // seen
				"sif /dir ctime 20200101", "sif /fifo ctime 20200101", "sif /link ctime 20200101",
				"sif / ctime 20200101",
				"sif /f299 ctime 20200101", "sif /f299 links_count 2",
				"sif /f100 ctime 20200101", "kill_file /f100", "sif <112> links_count 0", // gone
				"sif /f3 ctime 20150101", // of the instant itself
				"sif /f4 ctime @2600000000", "sif /f4 mtime 20200101",
			)
			table, err := Open(f)
			if err != nil {
				t.Fatal(err)
			}
			c, err := table.Since(time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, in := range c.All() {
				got = append(got, fmt.Sprintf("%c %d %d %d", in.Type, in.Size, in.Links, time.Unix(in.Change, 0).UTC().Year()))
				if i := c.Find(uint64(in.Number)); i < 0 || c.All()[i] != in {
					t.Errorf("inode %d is not found", in.Number)
				}
			}
			slices.Sort(got)
			for i, g := range got { // how large a folder is depends on the blocks
				if g[0] == 'd' {
					got[i] = "d"
				}
			}
			want := []string{"d", "d", "f 12 1 2052", "f 12 2 2020", "f 77 1 2020", "l 2 1 2020", "p 0 1 2020"}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if c.Find(1) != -1 || c.Find(1<<40) != -1 {
				t.Error("what is no such inode is found")
			}
		})
	}
}

// TestOpenRefuses has file systems that are others than they seem: none is read.
func TestOpenRefuses(t *testing.T) {
	for name, options := range map[string][]string{
		"small inodes":      {"-I", "128"},
		"no types of names": {"-O", "^filetype"},
		"groups elsewhere":  {"-O", "^resize_inode,meta_bg"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Open(image(t, options)); !errors.Is(err, ErrUnknown) {
				t.Errorf("%v", err)
			}
		})
	}
	for name, text := range map[string][]byte{"nothing": nil, "zeroes": make([]byte, 1<<20)} {
		if _, err := Open(bytes.NewReader(text)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzOpen has superblocks and group descriptors that say anything: they are refused or read, within bounds.
func FuzzOpen(f *testing.F) {
	small := make([]byte, 16<<10)
	if n, err := image(f, []string{"-b", "1024"}).ReadAt(small, 0); err != nil || n != len(small) {
		f.Fatal(err)
	}
	f.Add(small[1024:1536])
	f.Fuzz(func(t *testing.T, super []byte) {
		if len(super) > 1024 {
			return
		}
		all := slices.Clone(small)
		copy(all[1024:], super)
		table, err := Open(bytes.NewReader(all))
		if err != nil {
			return
		}
		c, _ := table.Since(time.Unix(0, 0))
		if len(c.All()) > len(all)/128 {
			t.Errorf("%d inodes in %d bytes", len(c.All()), len(all))
		}
	})
}
