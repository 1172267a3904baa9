package github_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/calmenu/calmenu/internal/github"
)

// zooFile also has the zoo built in a real guest.
const zooFile = "../clitest/testdata/qemu/risk.txtar"

func zoo(t *testing.T) (script, want string) {
	t.Helper()
	a, err := txtar.ParseFile(zooFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		switch f.Name {
		case "zoo.sh":
			script = string(f.Data)
		case "want.txt":
			want = string(f.Data)
		}
	}
	return script, want
}

func TestZoo(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	script, want := zoo(t)
	s.sh(script)
	ran := s.ran
	survey, err := github.LookThrough(t.Context(), s, github.SurveyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.ran - ran; n != 1 {
		t.Errorf("%d commands were run, want one", n)
	}
	got := strings.Join(survey.Lines(), "\n") + "\n"
	got = strings.ReplaceAll(got, filepath.Dir(s.home), "/tmp")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("differs from want.txt in %s (-want +got):\n%s", zooFile, d)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(s.home), "canary")); err == nil {
		t.Error("what a repository's configuration names was run")
	}
}
