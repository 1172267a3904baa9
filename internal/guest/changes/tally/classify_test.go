package tally

import "testing"

// TestGitDirOf knows a repository by the files that each commit writes.
func TestGitDirOf(t *testing.T) {
	for file, want := range map[string]string{
		".git/HEAD":                               "./.git",
		"a/.git/logs/refs/heads/x/y":              "./a/.git",
		"a/.git/refs/heads/refs/heads/x":          "./a/.git",
		"a/.git/packed-refs":                      "./a/.git",
		"a/.git/worktrees/w/logs/HEAD":            "./a/.git",
		"a/.git/worktrees/w/HEAD":                 "./a/.git",
		"a/.git/modules/lib/logs/HEAD":            "./a/.git/modules/lib",
		"a/.git/modules/deep/lib/refs/heads/main": "./a/.git/modules/deep/lib",
		"a/logs/b/.git/reftable/0x1.ref":          "./a/logs/b/.git",
		"bare.git/refs/heads/main":                "./bare.git",
		"worktrees/bare/packed-refs":              "./worktrees/bare",
		"a/.git/objects/pack/x":                   "",
		"a/.git/index":                            "",
		"a/logs/today":                            "",
		"refs/heads/x":                            "",
		"HEAD":                                    "",
		"":                                        "",
		"a/.gitignore":                            "",
		"a/.github/logs/HEAD":                     "./a/.github/logs", // is none; git says so
	} {
		got, ok := gitDirOf(file)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", file, got, ok, want)
		}
	}
}
