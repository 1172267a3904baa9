package main

import (
	"bytes"
	"debug/macho"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"howett.net/plist"

	"github.com/calmenu/calmenu/internal/hint"
)

const repository = "../.."

// safeFlag is what the Makefile gives the compiler on a Mac.
const safeFlag = "-d=variablemakehash=qn"

// compiled is a program for macOS that does nothing, compiled once for each processor.
var compiled = map[string]func() ([]byte, error){
	"arm64": sync.OnceValues(func() ([]byte, error) { return compile("arm64") }),
	"amd64": sync.OnceValues(func() ([]byte, error) { return compile("amd64") }),
}

func compile(arch string) ([]byte, error) {
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
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+arch, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "nothing"))
}

// macProgram returns the path of a program for macOS in which every old is replaced by new, of the same length.
func macProgram(t *testing.T, arch, old, replacement string) string {
	t.Helper()
	program, err := compiled[arch]()
	if err != nil {
		t.Fatal(err)
	}
	if len(old) != len(replacement) {
		t.Fatalf("%q does not fit into the place of %q", replacement, old)
	}
	path := filepath.Join(t.TempDir(), "program")
	changed := bytes.ReplaceAll(program, []byte(old), []byte(replacement))
	if old != replacement && bytes.Equal(changed, program) {
		t.Fatalf("the program does not hold %q", old)
	}
	if err := os.WriteFile(path, changed, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBundle(t *testing.T) {
	out := filepath.Join(t.TempDir(), "CALMenu.app")
	programs := []string{macProgram(t, "arm64", "", ""), macProgram(t, "amd64", "", "")}
	// An older bundle is replaced whole.
	if err := os.MkdirAll(filepath.Join(out, "Contents", "Old"), 0o700); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	code := run([]string{
		"-binary", programs[0], "-binary", programs[1], "-version", "v1.2.3-4-gabcdef",
		"-plist", filepath.Join(repository, "Info.plist"), "-license", filepath.Join(repository, "LICENSE"), "-out", out,
	}, &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "version v1.2.3-4-gabcdef") {
		t.Fatalf("exit code %d: %s%s", code, &stdout, &stderr)
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
		"-rw-r--r-- CALMenu.app/Contents/Resources/LICENSE",
		"-rw-r--r-- CALMenu.app/Contents/Resources/THIRD-PARTY-LICENSES",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the bundle holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	checkInformation(t, filepath.Join(out, "Contents", "Info.plist"))
	checkUniversal(t, filepath.Join(out, "Contents", "MacOS", "CALMenu"), programs)
}

func checkInformation(t *testing.T, path string) {
	t.Helper()
	var info map[string]any
	text, err := os.ReadFile(path)
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
		"CFBundleName":                   "CALMenu",
		"CFBundleDisplayName":            "CALMenu",
		"CFBundlePackageType":            "APPL",
		"CFBundleInfoDictionaryVersion":  "6.0",
		"CFBundleDevelopmentRegion":      "en",
		"CFBundleShortVersionString":     "1.2.3",
		"CFBundleVersion":                "1.2.3",
		"CALVersion":                     "v1.2.3-4-gabcdef",
		"LSApplicationCategoryType":      "public.app-category.developer-tools",
		"LSMinimumSystemVersion":         "13.0",
		"LSUIElement":                    true,
		"NSHighResolutionCapable":        true,
		"NSPrincipalClass":               "NSApplication",
		"NSSupportsAutomaticTermination": false,
		"NSSupportsSuddenTermination":    false,
		// What CALMenu does not do needs no words: no Apple Events, no camera, no microphone.
		// Nor is a second person on this Mac, who may run one too, kept from it.
		"NSAppleEventsUsageDescription": nil,
		"LSMultipleInstancesProhibited": nil,
		"NSCameraUsageDescription":      nil,
		"NSMicrophoneUsageDescription":  nil,
	} {
		if info[key] != want {
			t.Errorf("%s is %v, want %v", key, info[key], want)
		}
	}
	for _, key := range []string{
		"NSLocalNetworkUsageDescription", "NSDesktopFolderUsageDescription", "NSDocumentsFolderUsageDescription",
		"NSDownloadsFolderUsageDescription", "NSRemovableVolumesUsageDescription", "NSHumanReadableCopyright",
	} {
		if s, _ := info[key].(string); s == "" {
			t.Errorf("%s says nothing", key)
		}
	}
	environment, _ := info["LSEnvironment"].(map[string]any)
	if path, _ := environment["PATH"].(string); !strings.HasPrefix(path, "/opt/homebrew/bin:") {
		t.Errorf("PATH is %q: tart would not be found", path)
	}
}

// checkUniversal reads the program at path back: it must hold each of the programs as it was.
func checkUniversal(t *testing.T, path string, programs []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fat, err := macho.NewFatFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var cpus []macho.Cpu
	for _, arch := range fat.Arches {
		cpus = append(cpus, arch.Cpu)
		if arch.Offset%(1<<arch.Align) != 0 || arch.Align != 14 {
			t.Errorf("%s begins at %d, aligned to 2^%d", arch.Cpu, arch.Offset, arch.Align)
		}
		want, err := os.ReadFile(programs[slices.Index([]macho.Cpu{macho.CpuArm64, macho.CpuAmd64}, arch.Cpu)])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data[arch.Offset:arch.Offset+arch.Size], want) {
			t.Errorf("the program for %s was changed", arch.Cpu)
		}
	}
	if want := []macho.Cpu{macho.CpuAmd64, macho.CpuArm64}; !slices.Equal(cpus, want) {
		t.Errorf("the program is for %v, want %v", cpus, want)
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
		"1.2.3.4":                "",
		"v9999.99.99":            "9999.99.99",
		"v1.2.345":               "",
		"v12345.1.2":             "",
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
	otherLibrary := "/opt/lib/libSystem.B.dylib"
	good := bundle{
		binaries: []string{macProgram(t, "arm64", "", "")}, version: "1.0",
		plist: filepath.Join(repository, "Info.plist"), license: filepath.Join(repository, "LICENSE"),
		out: filepath.Join(dir, "A.app"),
	}
	old := filepath.Join(dir, "old.plist")
	source, err := os.ReadFile(good.plist)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, bytes.ReplaceAll(source, []byte(">13.0<"), []byte(">10.9<")), 0o600); err != nil {
		t.Fatal(err)
	}
	program := func(path string) func(*bundle) { return func(b *bundle) { b.binaries = []string{path} } }
	for _, tt := range []struct {
		name, want string
		change     func(*bundle)
		hinted     bool
	}{
		{"no program", "there is no program", func(b *bundle) { b.binaries = nil }, true},
		{"a program that is not there", "no such file", program(filepath.Join(dir, "none")), true},
		{"a program for another system", "not a program for macOS", program(elf), true},
		{"built without the flag", "without the flag", program(macProgram(t, "arm64", safeFlag, "-d=somethingelse=12345")), true},
		{"a library that macOS does not have", otherLibrary, program(
			macProgram(t, "arm64", "/usr/lib/libSystem.B.dylib", otherLibrary)), true},
		{"needs a newer macOS than is promised", "Info.plist promises 10.9", func(b *bundle) { b.plist = old }, true},
		{"the same processor twice", "two programs are for", func(b *bundle) {
			b.binaries = append(slices.Clone(b.binaries), b.binaries[0])
		}, true},
		{"broken plist", "reading Info.plist", func(b *bundle) { b.plist = broken }, false},
		{"a name that leaves the bundle", "no name", func(b *bundle) { b.plist = outside }, false},
		{"no licence", "reading the licence", func(b *bundle) { b.license = filepath.Join(dir, "none") }, false},
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

// TestMakefileAgrees holds that programs are compiled for the macOS that Info.plist promises, and with the flag that is
// insisted on here.
func TestMakefileAgrees(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(repository, "Info.plist"))
	if err != nil {
		t.Fatal(err)
	}
	_, said, err := stamped(source, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"export MACOSX_DEPLOYMENT_TARGET := " + said.MinimumSystem + "\n",
		"MACOS_GCFLAGS := -gcflags=all=" + safeFlag + "\n",
	} {
		if !strings.Contains(string(makefile), want) {
			t.Errorf("the Makefile does not say %s", want)
		}
	}
}
