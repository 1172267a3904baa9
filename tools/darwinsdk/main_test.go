package main

import (
	"bytes"
	"debug/macho"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// written writes the SDK once for a test and returns its folder and the compiler's command line.
func written(t *testing.T, arch string) (folder, cc string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "sdk")
	var out, problems bytes.Buffer
	if code := run(t.Context(), []string{"-out", folder, "-arch", arch}, &out, &problems); code != 0 {
		t.Fatalf("exit code %d: %s", code, &problems)
	}
	return folder, strings.TrimSpace(out.String())
}

func read(t *testing.T, elements ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSDK(t *testing.T) {
	folder, cc := written(t, "amd64")
	for _, tt := range []struct{ file, want string }{
		{"usr/include/AppKit/AppKit.h", "@interface NSMenu : NSObject"},
		{"usr/include/AppKit/stub_protocols.h", "@protocol NSAlertDelegate\n@end\n"}, // named by darwinkit
		{"usr/include/Metal/Metal.h", "#include \"Metal/stub_protocols.h\"\n"},       // no header by hand
		{"usr/lib/libSystem.tbd", "'_kevent'"},                                       // taken by Go
		{"usr/lib/libSystem.tbd", "'__NSConcreteStackBlock'"},                        // taken by Objective-C
		{"usr/lib/libpthread.tbd", "install-name: '/usr/lib/libSystem.B.dylib'"},     // part of it
		{"System/Library/Frameworks/AppKit.framework/AppKit.tbd", "objc-classes: [ 'NSApplication'"},
		{"System/Library/Frameworks/Metal.framework/Metal.tbd", "compatibility-version: 1\n...\n"}, // exports nothing
	} {
		if text := read(t, folder, tt.file); !strings.Contains(text, tt.want) {
			t.Errorf("%s does not contain %q:\n%.600s", tt.file, tt.want, text)
		}
	}
	if own := read(t, folder, "usr/include/AppKit/stub_protocols.h"); strings.Contains(own, "NSMenuDelegate") {
		t.Error("a protocol that a header declares is declared again")
	}
	for _, want := range []string{"clang -target x86_64-apple-macos13.0", "-isysroot " + folder, "-DCALMENU_SDK="} {
		if !strings.Contains(cc, want) {
			t.Errorf("the compiler is %q, want %q in it", cc, want)
		}
	}
}

// What an earlier version left behind would be found by the compiler, and what changed must be compiled again.
func TestReplaceAndDigest(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "sdk")
	if err := replace(folder, map[string]string{"usr/include/old.h": "x", "a": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := replace(folder, map[string]string{"a": "2"}, map[string]string{"b/c": "3"}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, folder, "a") + read(t, folder, "b", "c"); got != "23" {
		t.Errorf("the files hold %q, want 23", got)
	}
	if _, err := os.Stat(filepath.Join(folder, "usr")); err == nil {
		t.Error("the old header is still there")
	}
	before, err := os.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		files map[string]string
		same  bool
	}{
		{map[string]string{"b/c": "3", "a": "2"}, true},
		{map[string]string{"b/c": "3", "a": "2", "d": ""}, false},
		{map[string]string{"b/c": "3", "a": "2"}, false}, // one less than before
	} {
		if err := replace(folder, tt.files); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(folder)
		if err != nil {
			t.Fatal(err)
		}
		if os.SameFile(before, after) != tt.same {
			t.Errorf("the folder of %v stayed: %v, want %v", tt.files, !tt.same, tt.same)
		}
		before = after
	}
	one := map[string]string{"a.h": "x", "b.h": "y"}
	if digest(one) != digest(map[string]string{"b.h": "y", "a.h": "x"}) {
		t.Error("the digest depends on more than the contents")
	}
	for _, other := range []map[string]string{{"a.h": "x"}, {"a.h": "y", "b.h": "x"}, {"a.h": "x", "b.h": "yy"}} {
		if digest(one) == digest(other) {
			t.Errorf("%v has the digest of %v", other, one)
		}
	}
}

func TestErrors(t *testing.T) {
	if _, err := compiler("clang", "riscv64", "/sdk", ""); err == nil {
		t.Error("a compiler for a processor that macOS does not know")
	}
	if _, err := compiler("clang", "arm64", "/my sdk", ""); err == nil {
		t.Error("a folder with a blank, at which the go command would split")
	}
	if _, err := headers(t.TempDir()); err == nil {
		t.Error("headers without darwinkit")
	}
	if _, err := stubs(map[string][]string{"/usr/lib/libother.dylib": {"_x"}}); err == nil {
		t.Error("Go imports from an unknown library, and it was not noticed")
	}
	for _, args := range [][]string{nil, {"-out", "x", "extra"}, {"-unknown"}} {
		var out bytes.Buffer
		if code := run(t.Context(), args, &out, &out); code != 2 {
			t.Errorf("%q: exit code %d, want 2", args, code)
		}
	}
}

const header = "#import <AppKit/AppKit.h>\n"

// Compiling and linking with the SDK is strict: each planted error must end it, and code without one must not.
func TestPlantedErrors(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("a Mac has the real SDK, and no lld")
	}
	lld, err := exec.CommandContext(t.Context(), "clang", "-print-prog-name=ld64.lld").Output()
	if err != nil || !filepath.IsAbs(strings.TrimSpace(string(lld))) {
		t.Skip("run scripts/setup.sh test: clang or lld is missing: ", err)
	}
	_, cc := written(t, "arm64")
	for _, tt := range []struct{ name, source, want string }{
		{"good", header + "int main(void) { [[NSMenu new] removeAllItems]; [NSApp run]; return 0; }", ""},
		{"unknown method", header + "int main(void) { [[NSMenu new] removeAlItems]; return 0; }", "removeAlItems"},
		{"unknown class method", header + "int main(void) { [NSMenu menuWithTitle:@\"x\"]; return 0; }", "menuWithTitle:"},
		{"unknown function", "int main(void) { return undeclared(); }", "undeclared"},
		{"unknown header", "#include <AppKit/NSBra.h>\nint main(void) { return 0; }", "NSBra.h"},
		{"host's header", "#include <elf.h>\nint main(void) { return 0; }", "elf.h"},
		{"missing symbol", "extern int elsewhere(void);\nint main(void) { return elsewhere(); }", "elsewhere"},
		{"missing class", header + "@interface NSBra : NSObject\n@end\nint main(void) { [NSBra new]; return 0; }", "NSBra"},
		{"missing framework", "int main(void) { return 0; }//-framework Bras", "Bras"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			source, program := filepath.Join(dir, "main.m"), filepath.Join(dir, "main")
			if err := os.WriteFile(source, []byte(tt.source), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append(strings.Fields(cc)[1:], "-o", program, source, "-lobjc", "-framework", "AppKit", "-framework", "Foundation")
			if _, more, ok := strings.Cut(tt.source, "//"); ok {
				args = append(args, strings.Fields(more)...)
			}
			out, err := exec.CommandContext(t.Context(), "clang", args...).CombinedOutput()
			if tt.want != "" {
				if err == nil || !strings.Contains(string(out), tt.want) {
					t.Errorf("clang: %v, %q, want an error about %q", err, out, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("clang: %v\n%s", err, out)
			}
			f, err := macho.Open(program)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Cpu != macho.CpuArm64 || f.Type != macho.TypeExec {
				t.Errorf("linked a %s for %s", f.Type, f.Cpu)
			}
		})
	}
}
