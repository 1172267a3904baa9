package darwintypes

import (
	"os"
	"path/filepath"
	"strings"
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

// checked returns the problems of a module, without the folder it lies in.
func checked(t *testing.T, dir string, change func(*Target)) []string {
	t.Helper()
	tg := Target{OS: "darwin", Arch: "arm64", Patterns: []string{"./..."}, Dir: dir}
	if change != nil {
		change(&tg)
	}
	pkgs, err := Load(t.Context(), tg)
	if err != nil {
		t.Fatal(err)
	}
	problems := Check(tg, pkgs).Problems
	for i, p := range problems {
		problems[i] = strings.ReplaceAll(p, dir+string(filepath.Separator), "")
	}
	return problems
}

// Every planted error lies in a file that only macOS compiles, so nothing else in a Linux build would see it.
func TestPlantedErrors(t *testing.T) {
	const seam = `package planted

type Alert struct{}

func (Alert) Text(s string) {}

type Shower interface{ Show(title string) error }
`
	for _, tt := range []struct{ name, darwin, want string }{
		{"wrong method", `func f(a Alert) { a.Txt("x") }`, "a.Txt undefined"},
		{"wrong argument type", `func f(a Alert) { a.Text(1) }`, "cannot use 1"},
		{"missing argument", `func f(a Alert) { a.Text() }`, "not enough arguments"},
		{"missing return", `func f() int { }`, "missing return"},
		{"unused variable", `func f() { x := 1 }`, "declared and not used: x"},
		{"unknown name", `func f() { Reveal() }`, "undefined: Reveal"},
		{"interface not implemented", "type mac struct{}\nvar _ Shower = mac{}", "missing method Show"},
		{"wrong callback", `func on(func(bool)) {}
func f() { on(func(string) {}) }`, "cannot use (func(string)"},
		{"syntax", `func f() { if }`, "expected operand"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			problems := checked(t, module(t, map[string]string{
				"seam.go":         seam,
				"seam_darwin.go":  "package planted\n\n" + tt.darwin + "\n",
				"seam_windows.go": "package planted\n\nthis is not for us\n",
			}), nil)
			if len(problems) == 0 {
				t.Fatal("nothing was reported")
			}
			if got := strings.Join(problems, "\n"); !strings.Contains(got, tt.want) ||
				!strings.HasPrefix(got, "seam_darwin.go:") {
				t.Errorf("reported %q, want %q in seam_darwin.go", got, tt.want)
			}
		})
	}
}

func TestMissingImport(t *testing.T) {
	dir := module(t, map[string]string{"a_darwin.go": "package planted\n\nimport _ \"example.com/planted/nowhere\"\n"})
	if got := strings.Join(checked(t, dir, nil), "\n"); !strings.Contains(got, "example.com/planted/nowhere") {
		t.Errorf("reported %q, want the missing package", got)
	}
}

func TestErrorsInTests(t *testing.T) {
	files := map[string]string{
		"a.go":           "package planted\n\nfunc hidden() {}\n",
		"a_test.go":      "package planted\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { hidden(1) }\n",
		"outer_test.go":  "package planted_test\n\nimport \"example.com/planted\"\n\nvar _ = planted.Exported\n",
		"export_test.go": "package planted\n\nvar Exported = 1\n",
	}
	dir := module(t, files)
	if got := checked(t, dir, nil); len(got) > 0 {
		t.Errorf("without -test: reported %q", got)
	}
	got := checked(t, dir, func(tg *Target) { tg.Tests = true })
	if len(got) != 1 || !strings.HasPrefix(got[0], "a_test.go:5:") || !strings.Contains(got[0], "too many arguments") {
		t.Errorf("with -test: reported %q, want the call in a_test.go alone, once", got)
	}
}

// cgo files are read although there is no C compiler; what lies under C. is not looked at.
func TestCgoFiles(t *testing.T) {
	dir := module(t, map[string]string{
		"a_darwin.go": "package planted\n\n// #include <AppKit/AppKit.h>\nimport \"C\"\n\nvar _ = C.NSApp\n\nvar n int = \"x\"\n",
	})
	got := checked(t, dir, nil)
	if len(got) != 1 || !strings.Contains(got[0], `cannot use "x"`) {
		t.Errorf("reported %q, want the assignment alone", got)
	}
}
