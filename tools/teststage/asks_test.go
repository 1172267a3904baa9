package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhatAsksForAMachineSkipsItselfWithoutOne: the stage machines runs what skipped itself in the stage unit, so a test
// that only does less without a machine would do less for ever.
func TestWhatAsksForAMachineSkipsItselfWithoutOne(t *testing.T) {
	question := regexp.MustCompile(`Getenv\("(` + strings.Join(lets, "|") + `)"\)`)
	answer := regexp.MustCompile(`\.Skip\("set (` + strings.Join(lets, "|") + `)=1\b|os\.Exit\(m\.Run\(\)\)`)
	found := 0
	for _, root := range []string{"../../app", "../../internal", "../../cmd", "../../resources", "../../tools"} {
		err := filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".go" {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			lines := strings.Split(string(text), "\n")
			for i, line := range lines {
				if !question.MatchString(line) {
					continue
				}
				if found++; i+1 == len(lines) || !answer.MatchString(lines[i+1]) {
					t.Errorf("%s:%d: what asks for %s must skip itself by the next line, saying so", file, i+1, question.FindString(line))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < len(lets) {
		t.Errorf("%d questions found", found)
	}
}
