package github

import (
	"strings"
	"testing"
)

func fit(t *testing.T, what, s string) {
	t.Helper()
	bad := func(r rune) bool { return r < 0x20 && r != '\t' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 }
	if strings.ContainsFunc(s, bad) {
		t.Errorf("%s is not fit for a terminal: %q", what, s)
	}
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte("@app\x00dorigin/main\x00rorigin\x00# branch.oid a\x00# branch.head main\x00# branch.ab +1 -2\x00? x\x00\x00x0 \x00@\x00"))
	f.Add([]byte("@\x00@a\x00x128 fatal: no\x00# stash\x001\x00u\x00"))
	f.Fuzz(func(t *testing.T, out []byte) {
		for _, s := range parseStatus(out) {
			fit(t, "a branch", s.Branch+s.Default+s.Upstream+s.Problem)
			if s.Name == "" {
				t.Error("a repository without a name")
			}
		}
	})
}

func FuzzDiff(f *testing.F) {
	f.Add([]byte("f\x00A\x00new\x00M\x00d\x00\x00d\x00diff --git a/x b/x\n+\tx\x1b[0m\n"))
	f.Add([]byte("efatal: no\x00"))
	f.Fuzz(func(t *testing.T, out []byte) {
		var d Diff
		if err := d.read(out); err != nil {
			fit(t, "an error", err.Error())
			return
		}
		fit(t, "a diff", d.Text+strings.Join(d.Files, "\n"))
	})
}

func FuzzRescued(f *testing.F) {
	f.Add([]byte("L\x00.env\x00\x00wwarning: x\x00rorigin\x00cabc\x00p3\x00.\x00"))
	f.Fuzz(func(t *testing.T, out []byte) {
		var r Rescued
		if err := r.read(out); err == nil && r.Commit == "" {
			t.Error("saved as nothing")
		} else if err != nil {
			fit(t, "an error", err.Error())
		}
	})
}

func FuzzSource(f *testing.F) {
	f.Add("acme/app")
	f.Add("https://git.example/a/b.git")
	f.Add("git@github.com:acme/app.git")
	f.Fuzz(func(t *testing.T, s string) {
		src, err := ParseSource(s)
		if err != nil {
			fit(t, "an error", err.Error())
			return
		}
		for _, name := range []string{src.Repo, src.Owner + "-" + src.Repo} {
			if strings.ContainsAny(name, "/\x00\n") || strings.HasPrefix(name, "-") || name == "." || name == ".." || name == "" {
				t.Errorf("%q is cloned into %q", s, name)
			}
		}
		if strings.HasPrefix(src.URL, "-") || isLocal(src.URL) && !strings.Contains(src.URL, "://") {
			t.Errorf("%q is cloned from %q", s, src.URL)
		}
	})
}
