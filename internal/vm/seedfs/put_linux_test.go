package seedfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestPut(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	file := File{Path: "/dir/file", Mode: 0o640, UID: uid, GID: gid, Data: []byte("new")}
	for name, tt := range map[string]struct {
		before func(root string) error
		put    File
		check  func(t *testing.T, root string)
	}{
		"a new file": {nil, file, nil},
		"over a file of another mode": {
			func(root string) error { return os.WriteFile(root+"/dir/file", []byte("new"), 0o600) }, file, nil,
		},
		"over a directory": {
			func(root string) error { return os.MkdirAll(root+"/dir/file/deep", 0o755) }, file, nil,
		},
		"a link is replaced, not followed": {
			func(root string) error { return os.Symlink(filepath.Join(root, "victim"), root+"/dir/file") },
			file,
			func(t *testing.T, root string) {
				t.Helper()
				if _, err := os.Lstat(filepath.Join(root, "victim")); !os.IsNotExist(err) {
					t.Errorf("the link was followed: %v", err)
				}
			},
		},
		"a second name keeps its content": {
			func(root string) error {
				if err := os.WriteFile(root+"/other", []byte("old"), 0o600); err != nil {
					return err
				}
				return os.Link(root+"/other", root+"/dir/file")
			},
			file,
			func(t *testing.T, root string) {
				t.Helper()
				if b, err := os.ReadFile(filepath.Join(root, "other")); err != nil || string(b) != "old" {
					t.Errorf("the other name has %q, %v", b, err)
				}
			},
		},
		"a new directory": {nil, File{Path: "/dir/new", Mode: fs.ModeDir | 0o700, UID: uid, GID: gid}, nil},
		"a directory that was a link": {
			func(root string) error { return os.Symlink("/", root+"/dir/new") },
			File{Path: "/dir/new", Mode: fs.ModeDir | 0o700, UID: uid, GID: gid},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "dir"), 0o755); err != nil {
				t.Fatal(err)
			}
			if tt.before != nil {
				if err := tt.before(root); err != nil {
					t.Fatal(err)
				}
			}
			if err := Put(root, tt.put); err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(root, tt.put.Path)
			info, err := os.Lstat(to)
			if err != nil || info.Mode() != tt.put.Mode {
				t.Fatalf("%v, %v, want %v", info, err, tt.put.Mode)
			}
			if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
				t.Errorf("owned by %d:%d", st.Uid, st.Gid)
			}
			if !info.IsDir() {
				if b, err := os.ReadFile(to); err != nil || string(b) != string(tt.put.Data) {
					t.Errorf("holds %q, %v", b, err)
				}
			}
			if tt.check != nil {
				tt.check(t, root)
			}
		})
	}
}

// A parent that nobody named leaves a directory that is there as it is.
func TestPutParent(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dir"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := Put(root, File{Path: "/dir", Mode: fs.ModeDir | 0o755}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(root, "dir")); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v", info, err)
	}
}
