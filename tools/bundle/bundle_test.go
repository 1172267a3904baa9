package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackmordaunt/icns/v3"
	"howett.net/plist"

	"github.com/calmenu/calmenu/internal/hint"
)

const repository = "../.."

// safeFlag is what the Makefile gives the compiler on a Mac.
const safeFlag = "-d=variablemakehash=qn"

// compiled is a program for macOS that does nothing, compiled once for all tests.
var compiled = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "bundle-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"go.mod":  "module example.com/nothing\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("go", "build", "-gcflags=all="+safeFlag, "-o", "nothing", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "nothing"))
})

// macProgram returns the path of a program for macOS whose build information names flag.
func macProgram(t *testing.T, flag string) string {
	t.Helper()
	program, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	if len(flag) != len(safeFlag) {
		t.Fatalf("%s does not fit into the place of %s", flag, safeFlag)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, bytes.ReplaceAll(program, []byte(safeFlag), []byte(flag)), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBundle(t *testing.T) {
	out := filepath.Join(t.TempDir(), "CALMenu.app")
	b := bundle{
		binary: macProgram(t, safeFlag), version: "v1.2.3-4-gabcdef", plist: filepath.Join(repository, "Info.plist"), out: out,
	}
	// An older bundle is replaced whole.
	if err := os.MkdirAll(filepath.Join(out, "Contents", "Old"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := b.write(); err != nil {
		t.Fatal(err)
	}

	var got []string
	err := filepath.WalkDir(filepath.Dir(out), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		name, _ := filepath.Rel(filepath.Dir(out), path)
		got = append(got, info.Mode().String()+" "+name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-rw-r--r-- CALMenu.app/Contents/Info.plist",
		"-rwxr-xr-x CALMenu.app/Contents/MacOS/CALMenu",
		"-rw-r--r-- CALMenu.app/Contents/PkgInfo",
		"-rw-r--r-- CALMenu.app/Contents/Resources/CALMenu.icns",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the bundle holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	var info map[string]any
	text, err := os.ReadFile(filepath.Join(out, "Contents", "Info.plist"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plist.Unmarshal(text, &info); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"CFBundleIdentifier":             "io.github.calmenu.CALMenu",
		"CFBundleExecutable":             "CALMenu",
		"CFBundleIconFile":               "CALMenu",
		"CFBundlePackageType":            "APPL",
		"CFBundleShortVersionString":     "1.2.3",
		"CFBundleVersion":                "1.2.3",
		"CALVersion":                     "v1.2.3-4-gabcdef",
		"LSMinimumSystemVersion":         "13.0",
		"LSUIElement":                    true,
		"NSSupportsAutomaticTermination": false,
		"NSSupportsSuddenTermination":    false,
	} {
		if info[key] != want {
			t.Errorf("%s is %v, want %v", key, info[key], want)
		}
	}
	if s, _ := info["NSLocalNetworkUsageDescription"].(string); s == "" {
		t.Error("macOS refuses the local network without NSLocalNetworkUsageDescription")
	}
	environment, _ := info["LSEnvironment"].(map[string]any)
	if path, _ := environment["PATH"].(string); !strings.HasPrefix(path, "/opt/homebrew/bin:") {
		t.Errorf("PATH is %q: tart would not be found", path)
	}
}

func TestAppIcon(t *testing.T) {
	data, err := appIcon()
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := icns.Probe(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if len(kinds) != len(iconTypes) {
		t.Errorf("the icon has the pictures %v, want %v", kinds, iconTypes)
	}
	pictures, err := icns.DecodeAll(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var sides []int
	for _, p := range pictures {
		sides = append(sides, p.Bounds().Dx())
		if _, _, _, alpha := p.At(p.Bounds().Dx()/2, p.Bounds().Dy()/2).RGBA(); alpha == 0 {
			t.Errorf("the picture of %d pixels is empty in its middle", p.Bounds().Dx())
		}
		if _, _, _, alpha := p.At(0, 0).RGBA(); alpha != 0 {
			t.Errorf("the picture of %d pixels has no transparent corner", p.Bounds().Dx())
		}
	}
	slices.Sort(sides)
	if want := []int{32, 64, 128, 256, 256, 512, 512, 1024}; !slices.Equal(sides, want) {
		t.Errorf("sides are %v, want %v", sides, want)
	}
}

func TestVersions(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(repository, "Info.plist"))
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"1.2.3":                  "1.2.3",
		"v0.4":                   "0.4",
		"v1.2.3-rc.1":            "1.2.3",
		"0.1.0-dev+1234567":      "0.1.0",
		"v2.0.1-12-g1234-dirty":  "2.0.1",
		"":                       "",
		"abcdef1":                "",
		"v":                      "",
		"1.2.3.4":                "1.2.3",
		"<string>1.0.0</string>": "",
	} {
		out, _, err := stamped(source, version)
		if want == "" {
			if err == nil {
				t.Errorf("version %q was accepted", version)
			}
			continue
		}
		var info map[string]any
		if err == nil {
			_, err = plist.Unmarshal(out, &info)
		}
		if err != nil || info["CFBundleShortVersionString"] != want || info["CALVersion"] != version {
			t.Errorf("version %q became %v and %v (%v), want %s",
				version, info["CFBundleShortVersionString"], info["CALVersion"], err, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	elf := filepath.Join(dir, "elf")
	if err := os.WriteFile(elf, []byte("\x7fELF\x02\x01\x01 and so on, as programs for Linux begin"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken.plist")
	if err := os.WriteFile(broken, []byte("<plist><dict><key>CFBundleName</key></plist>"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(dir, "outside.plist")
	if err := os.WriteFile(outside, []byte(`<plist version="1.0"><dict><key>CFBundleExecutable</key>
<string>../x</string><key>CFBundleIconFile</key><string>x</string></dict></plist>`), 0o600); err != nil {
		t.Fatal(err)
	}
	good := bundle{
		binary: macProgram(t, safeFlag), version: "1.0", plist: filepath.Join(repository, "Info.plist"),
		out: filepath.Join(dir, "A.app"),
	}
	for _, tt := range []struct {
		name, want string
		change     func(*bundle)
		hinted     bool
	}{
		{"no program", "no such file", func(b *bundle) { b.binary = filepath.Join(dir, "none") }, true},
		{"a program for another system", "not a program for macOS", func(b *bundle) { b.binary = elf }, true},
		{"built without the flag", "without the flag", func(b *bundle) { b.binary = macProgram(t, "-d=somethingelse=12345") }, true},
		{"broken plist", "reading Info.plist", func(b *bundle) { b.plist = broken }, false},
		{"a name that leaves the bundle", "no name", func(b *bundle) { b.plist = outside }, false},
		{"not an application", ".app", func(b *bundle) { b.out = dir }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := good
			tt.change(&b)
			err := b.write()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("write = %v, want %q", err, tt.want)
			}
			if (hint.Of(err) != "") != tt.hinted {
				t.Errorf("hint is %q", hint.Of(err))
			}
			if _, err := os.Stat(good.out); err == nil {
				t.Error("a bundle was written")
			}
		})
	}
}
