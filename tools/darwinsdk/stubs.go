package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// minimumOS is the oldest macOS that CALMenu runs on: Info.plist says the same.
const minimumOS = "13.0"

//go:embed symbols
var symbols embed.FS

// library is a library of macOS that the program may be linked with.
type library struct {
	name    string // of its file in symbols, if there is one
	install string // what the program asks the dynamic linker for
	stub    string // where the static linker looks
}

// libraries are all there are. That a framework is here does not yet allow the program to use it: see darwininspect.
func libraries() []library {
	all := []library{
		{"System", "/usr/lib/libSystem.B.dylib", "usr/lib/libSystem.tbd"},
		{"System", "/usr/lib/libSystem.B.dylib", "usr/lib/libpthread.tbd"}, // runtime/cgo asks for -lpthread
		{"objc", "/usr/lib/libobjc.A.dylib", "usr/lib/libobjc.tbd"},
		{"resolv", "/usr/lib/libresolv.9.dylib", "usr/lib/libresolv.tbd"},
		{"ffi", "/usr/lib/libffi.dylib", "usr/lib/libffi.tbd"},
	}
	for _, f := range []struct{ version, names string }{
		{"A", "CloudKit Cocoa CoreData CoreFoundation CoreGraphics CoreImage CoreML CoreMedia CoreVideo IOSurface ImageIO " +
			"Metal QuartzCore Security UniformTypeIdentifiers UserNotifications"},
		{"C", "AppKit Foundation"},
	} {
		for _, name := range strings.Fields(f.names) {
			folder := path.Join("/System/Library/Frameworks", name+".framework")
			all = append(all, library{name, path.Join(folder, "Versions", f.version, name), path.Join(folder, name+".tbd")[1:]})
		}
	}
	return all
}

// importLines are how Go's runtime and standard library say what they take from a library.
var importLines = regexp.MustCompile(`(?m)^//go:cgo_import_dynamic +\S+ +([^ #]+)(?:#\S*)? +"([^"]+)"`)

// goImports returns the symbols that the packages of the program take without cgo, by install name. Only the standard
// library and golang.org/x/sys are taken at their word.
func goImports(ctx context.Context, arch string) (map[string][]string, error) {
	list, err := goList(ctx, arch, "-deps", "-f",
		`{{if or .Standard (and .Module (eq .Module.Path "golang.org/x/sys"))}}{{range .GoFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}{{end}}`,
		"github.com/calmenu/calmenu/cmd/CALMenu")
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, name := range strings.Fields(list) {
		text, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			return nil, fmt.Errorf("reading what Go imports: %w", err)
		}
		for _, m := range importLines.FindAllStringSubmatch(string(text), -1) {
			found[m[2]] = append(found[m[2]], "_"+m[1])
		}
	}
	return found, nil
}

// stubs returns the text-based stubs of all libraries by their paths, exporting what is listed by hand and imports.
func stubs(imports map[string][]string) (map[string]string, error) {
	files := map[string]string{}
	known := map[string]bool{}
	for _, l := range libraries() {
		known[l.install] = true
		names, classes, err := listed(l.name)
		if err != nil {
			return nil, err
		}
		files[l.stub] = stub(l.install, append(names, imports[l.install]...), classes)
	}
	for install := range imports {
		if !known[install] {
			return nil, fmt.Errorf("writing the libraries: Go imports from %s, which is none of them", install)
		}
	}
	return files, nil
}

// listed reads the symbols and classes of a library that are listed by hand.
func listed(library string) (names, classes []string, err error) {
	text, err := symbols.ReadFile("symbols/" + library + ".txt")
	if err != nil {
		return nil, nil, nil // a framework of which nothing but its presence is asked
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		class, isClass := strings.CutPrefix(line, "@")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.ContainsAny(line, " ,'[]"):
			return nil, nil, fmt.Errorf("reading the symbols of %s: %q is no symbol", library, line)
		case isClass:
			classes = append(classes, class)
		default:
			names = append(names, line)
		}
	}
	return names, classes, nil
}

// stub returns a library in the linker's text format, version 4.
func stub(install string, names, classes []string) string {
	const targets = "[ arm64-macos, x86_64-macos ]"
	var b strings.Builder
	fmt.Fprintf(&b, "--- !tapi-tbd\ntbd-version: 4\ntargets: %s\ninstall-name: '%s'\n", targets, install)
	b.WriteString("current-version: 1\ncompatibility-version: 1\n")
	if len(names)+len(classes) > 0 {
		fmt.Fprintf(&b, "exports:\n  - targets: %s\n", targets)
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"symbols", names}, {"objc-classes", classes}} {
		if len(list.names) > 0 {
			slices.Sort(list.names)
			fmt.Fprintf(&b, "    %s: [ '%s' ]\n", list.key, strings.Join(slices.Compact(list.names), "', '"))
		}
	}
	b.WriteString("...\n")
	return b.String()
}
