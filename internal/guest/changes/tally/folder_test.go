package tally

import (
	"reflect"
	"testing"
)

// What is told of a folder's names one by one is what is told of the files.
func TestAddIn(t *testing.T) {
	folders := []string{
		"", "a/", "workspace/", "workspace/b/", "refs/", "refs/heads/", "a/refs/heads/", "a/refs/heads/x/", "reftable/",
		"a/reftable/", "bare.git/", "bare.git/refs/", "a/.git/", "a/.gitx/", ".cache/", ".config/", "go/", "go/pkg/mod/x/",
		"Library/", "Library/Caches/", "zzz/a/",
	}
	names := []string{
		"a", "b", "x", "zz", "HEAD", "xHEAD", "packed-refs", "refs", "heads", "reftable", ".git", "bare.git", ".gitignore",
		".cache", ".npm", "go", "f1", "f2", "f3", "packed-refs2", "worktrees",
	}
	for _, top := range []int{0, 1, 3, 10, 1000} {
		together, apart := Home{Top: top, Repos: 5}, Home{Top: top, Repos: 5}
		for i, folder := range folders {
			f := FolderOf(folder)
			for j, name := range names {
				size, dir := int64((i*7+j*3)%5), (i+j)%4 == 0
				apart.Add(folder+name, dir, size)
				together.AddIn(f, []byte(name), dir, size)
			}
		}
		if !reflect.DeepEqual(together, apart) {
			t.Errorf("of the %d largest: %+v, want %+v", top, together, apart)
		}
	}
}
