package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// workflow is what these tests look at in a file of .github/workflows.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Permissions map[string]string
		Environment string
		RunsOn      string `yaml:"runs-on"`
		Timeout     int    `yaml:"timeout-minutes"`
		Steps       []struct {
			Uses, Run string
			With      map[string]any
			Env       map[string]string
		}
	}
}

// workflows calls check for each workflow with its text.
func workflows(t *testing.T, check func(t *testing.T, w workflow, text string)) {
	t.Helper()
	files, err := filepath.Glob(repository + "/.github/workflows/*.yml")
	if err != nil || len(files) != 2 {
		t.Fatalf("workflows are %v (%v), want ci and release", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var w workflow
			if err := yaml.Unmarshal(text, &w); err != nil {
				t.Fatal(err)
			}
			check(t, w, string(text))
		})
	}
}

// TestWorkflowsArePinned holds that no action changes under a name: each is a commit, with the release it is as a comment.
func TestWorkflowsArePinned(t *testing.T) {
	pinned := regexp.MustCompile(`^ +(?:- )?uses: actions/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`)
	commits := map[string]string{}
	workflows(t, func(t *testing.T, _ workflow, text string) {
		for _, line := range strings.Split(text, "\n") {
			if !strings.Contains(line, "uses:") {
				continue
			}
			if !pinned.MatchString(line) {
				t.Errorf("not pinned to a commit of GitHub's own actions, or without its release: %s", line)
			}
			_, action, _ := strings.Cut(line, "uses: ")
			name, _, _ := strings.Cut(action, "@")
			if other, ok := commits[name]; ok && other != action {
				t.Errorf("%s is also pinned as %s", action, other)
			}
			commits[name] = action
		}
	})
}

// TestWorkflowsMayDoLittle holds the permissions: reading, but for the job that publishes, which runs nothing of the
// repository's. No checkout leaves its token behind.
func TestWorkflowsMayDoLittle(t *testing.T) {
	workflows(t, func(t *testing.T, w workflow, text string) {
		if w.Permissions == nil {
			t.Error("permissions are not limited")
		}
		for name, job := range w.Jobs {
			if job.Timeout == 0 {
				t.Errorf("%s has no time limit", name)
			}
			for what, how := range job.Permissions {
				if how != "read" && (what != "contents" || name != "publish") {
					t.Errorf("%s may %s %s", name, how, what)
				}
			}
			for _, step := range job.Steps {
				if strings.HasPrefix(step.Uses, "actions/checkout@") &&
					(name == "publish" || step.With["persist-credentials"] != false) {
					t.Errorf("%s checks out and keeps the token", name)
				}
				if job.Permissions["contents"] == "write" && strings.Contains(step.Run, "make ") {
					t.Errorf("%s runs the repository's programs with the right to write", name)
				}
			}
		}
		if strings.Contains(text, "pull_request_target") {
			t.Error("pull_request_target gives secrets to strangers' code")
		}
	})
}

// TestSecretsStayInSteps holds that a secret is known to one step by its environment, and never part of a script's text,
// which is printed.
func TestSecretsStayInSteps(t *testing.T) {
	secret := regexp.MustCompile(`secrets\.([A-Z0-9_]+)`)
	workflows(t, func(t *testing.T, w workflow, text string) {
		inSteps := 0
		for name, job := range w.Jobs {
			for _, step := range job.Steps {
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: an expression in a script is expanded before the shell reads it:\n%s", name, step.Run)
				}
				if regexp.MustCompile(`(?m)set -[a-z]*x|\bprintenv\b|^\s*env$`).MatchString(step.Run) {
					t.Errorf("%s prints what it knows:\n%s", name, step.Run)
				}
				for _, value := range step.Env {
					inSteps += len(secret.FindAllString(value, -1))
				}
				if len(secret.FindAllString(fmt.Sprint(step.Env), -1)) > 0 && job.Environment != "release" {
					t.Errorf("%s has secrets without the environment that guards them", name)
				}
			}
		}
		if all := secret.FindAllString(text, -1); len(all) != inSteps {
			t.Errorf("%d secrets are used, %d of them in the environment of a step", len(all), inSteps)
		}
	})
	text, err := os.ReadFile(repository + "/.github/workflows/release.yml")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(repository + "/docs/release.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secret.FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(string(guide), "`"+s[1]+"`") {
			t.Errorf("docs/release.md does not say what %s is", s[1])
		}
	}
}

// TestWorkflowsCallTheMakefile holds that what a workflow runs is what a person runs: each target there is one.
func TestWorkflowsCallTheMakefile(t *testing.T) {
	makefile, err := os.ReadFile(repository + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	called := map[string]bool{}
	workflows(t, func(t *testing.T, w workflow, _ string) {
		for _, job := range w.Jobs {
			for _, step := range job.Steps {
				for _, m := range regexp.MustCompile(`(?m)^\s*make ([a-z-]+)`).FindAllStringSubmatch(step.Run, -1) {
					called[m[1]] = true
					if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
						t.Errorf("the Makefile has no target %s", m[1])
					}
				}
			}
		}
	})
	for _, target := range []string{"test-fast", "dmg", "notarize", "cask"} {
		if !called[target] {
			t.Errorf("no workflow calls make %s", target)
		}
	}
	// AppKit is called in tests too, so these need the compiler's flag on a Mac as the program does.
	if !slices.Contains(strings.Split(string(makefile), "\n"), "\t$(GO) test $(GCFLAGS) ./...") {
		t.Error("make test-fast does not give the compiler's flag")
	}
}

// TestActionlint has actionlint read the workflows where make lint-actions has installed it.
func TestActionlint(t *testing.T) {
	found, _ := filepath.Glob(repository + "/build/tools/actionlint-v*")
	if len(found) == 0 {
		t.Skip("make lint-actions installs actionlint, and runs it too")
	}
	lint, err := filepath.Abs(found[len(found)-1])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(lint)
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
