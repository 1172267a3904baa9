package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// licenseFiles are the names under which modules keep what must go with their program, in lower case.
var licenseFiles = []string{"license", "license.md", "license.txt", "licence", "copying", "notice", "notice.txt"}

// notices returns the licences of Go and of the modules a program was built from, which have to go with it.
func notices(modules []string) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprint(&out, "CALMenu is built from the following works. Their licences follow, as they came with them.\n")
	root, err := goTool("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	if err := addLicenses(&out, "Go "+strings.TrimPrefix(runtime.Version(), "go"), strings.TrimSpace(root)); err != nil {
		return nil, err
	}
	if len(modules) == 0 {
		return out.Bytes(), nil
	}
	modules = slices.Compact(slices.Sorted(slices.Values(modules)))
	list, err := goTool(append([]string{"list", "-m", "-f", "{{.Path}} {{.Version}}\t{{.Dir}}"}, modules...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(list) {
		name, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if err := addLicenses(&out, name, dir); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func goTool(args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command("go", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("collecting licences: go %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// addLicenses appends what dir has under the names of licences. A work without any may not be given to others.
func addLicenses(out *bytes.Buffer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("collecting licences of %s: %w", name, err)
	}
	found := false
	for _, e := range entries {
		if !slices.Contains(licenseFiles, strings.ToLower(e.Name())) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("collecting licences of %s: %w", name, err)
		}
		fmt.Fprintf(out, "\n\n======== %s: %s\n\n%s\n", name, e.Name(), bytes.TrimSpace(text))
		found = true
	}
	if !found {
		return fmt.Errorf("collecting licences: %s has none among %s", name, strings.Join(licenseFiles, ", "))
	}
	return nil
}
