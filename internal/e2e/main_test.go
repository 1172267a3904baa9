//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the CALMenu under test, built by TestMain.
var program string

func TestMain(m *testing.M) {
	if os.Getenv(sessionPlayer) != "" {
		if err := playSession(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("CAL_TEST_VM") != "1" && os.Getenv("CAL_TEST_DESKTOP") != "1" {
		os.Exit(m.Run()) // every test skips itself and says why
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "calmenu-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "CALMenu")
	if err := build(program); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build builds the program as `make build` does: first the guest's programs, which are embedded.
func build(to string) error {
	root := filepath.Join("..", "..")
	for _, program := range []string{"calinit", "calseed"} {
		embedded := filepath.Join("resources", "guest", "bin", program)
		if _, err := os.Stat(filepath.Join(root, embedded)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := goBuild(root, embedded, "./cmd/"+program, "GOOS=linux", "GOARCH=amd64"); err != nil {
			return err
		}
	}
	return goBuild(root, to, "./cmd/CALMenu")
}

func goBuild(root, to, pkg string, env ...string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return nil
}
