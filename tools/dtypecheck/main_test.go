package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// module writes a module of one package from files to a folder of its own and returns the folder.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/planted\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestExitCodes(t *testing.T) {
	good := module(t, map[string]string{"a.go": "package planted\n"})
	bad := module(t, map[string]string{"a.go": "package planted\n", "a_darwin.go": "package planted\n\nvar n int = \"x\"\n"})
	for _, tt := range []struct {
		name, dir string
		args      []string
		want      int
	}{
		{"no error", good, nil, 0},
		{"errors", bad, nil, 1},
		{"errors of another platform", bad, []string{"-os", "linux", "-arch", "amd64"}, 0},
		{"unknown flag", good, []string{"-unknown"}, 2},
		{"no module", t.TempDir(), nil, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(tt.dir)
			var stdout, stderr bytes.Buffer
			if got := run(t.Context(), tt.args, &stdout, &stderr); got != tt.want {
				t.Errorf("exit code %d, want %d\n%s%s", got, tt.want, stdout.String(), stderr.String())
			}
		})
	}
}
