package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed include
var include embed.FS

// A darwinkit package names the protocols of its framework in protocols.gen.m, so that the linker keeps them.
var (
	importLine   = regexp.MustCompile(`(?m)^#import "(.+)"`)
	protocolUse  = regexp.MustCompile(`@protocol\((\w+)\);`)
	protocolDecl = regexp.MustCompile(`(?m)^@protocol (\w+)(?: <|$)`)
)

// headers returns the headers of the SDK by their paths: those written by hand, and stub_protocols.h for each framework
// with an empty declaration of every protocol that darwinkit names and no header declares.
func headers(darwinkit string) (map[string]string, error) {
	files := map[string]string{}
	declared := map[string]bool{}
	err := fs.WalkDir(include, "include", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := include.ReadFile(name)
		if err != nil {
			return err
		}
		files[path.Join("usr", name)] = string(text)
		for _, m := range protocolDecl.FindAllStringSubmatch(string(text), -1) {
			declared[m[1]] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the headers: %w", err)
	}
	sources, err := filepath.Glob(filepath.Join(darwinkit, "macos", "*", "protocols.gen.m"))
	if err != nil || len(sources) == 0 {
		return nil, fmt.Errorf("reading darwinkit's protocols: there are none in %s", darwinkit)
	}
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			return nil, fmt.Errorf("reading darwinkit's protocols: %w", err)
		}
		header := importLine.FindStringSubmatch(string(text))
		if header == nil || !filepath.IsLocal(header[1]) {
			return nil, fmt.Errorf("reading darwinkit's protocols: %s imports no header", source)
		}
		framework, _, _ := strings.Cut(header[1], "/")
		stub := path.Join("usr/include", framework, "stub_protocols.h")
		var b strings.Builder
		b.WriteString(files[stub])
		for _, m := range protocolUse.FindAllStringSubmatch(string(text), -1) {
			if !declared[m[1]] {
				declared[m[1]] = true
				fmt.Fprintf(&b, "@protocol %s\n@end\n", m[1])
			}
		}
		files[stub] = b.String()
		if name := path.Join("usr/include", header[1]); files[name] == "" {
			files[name] = fmt.Sprintf("#include %q\n", framework+"/stub_protocols.h")
		}
	}
	return files, nil
}

// digest returns a short name for the contents of files.
func digest(files map[string]string) string {
	h := sha256.New()
	for _, name := range sorted(files) {
		fmt.Fprintf(h, "%s %d\n%s", name, len(files[name]), files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// replace makes folder hold exactly these files; nothing that an earlier version wrote stays behind to be found. If it
// does already, it is not touched: another build may be reading it.
func replace(folder string, sets ...map[string]string) error {
	if holds(folder, sets) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return fmt.Errorf("writing the SDK: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(folder), ".darwinsdk-")
	if err != nil {
		return fmt.Errorf("writing the SDK: %w", err)
	}
	defer os.RemoveAll(fresh)
	for _, files := range sets {
		for _, name := range sorted(files) {
			target := filepath.Join(fresh, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				return fmt.Errorf("writing the SDK: %w", err)
			}
			if err := os.WriteFile(target, []byte(files[name]), 0o644); err != nil {
				return fmt.Errorf("writing the SDK: %w", err)
			}
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("replacing the SDK: %w", err)
	}
	// MkdirTemp makes folders for their owner alone.
	if err := os.Chmod(fresh, 0o755); err != nil {
		return fmt.Errorf("writing the SDK: %w", err)
	}
	if err := os.Rename(fresh, folder); err != nil {
		return fmt.Errorf("replacing the SDK: %w", err)
	}
	return nil
}

// holds says whether a folder holds exactly these files.
func holds(folder string, sets []map[string]string) bool {
	want := map[string]string{}
	for _, files := range sets {
		maps.Copy(want, files)
	}
	errDiffers := errors.New("differs")
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if expected, ok := want[filepath.ToSlash(name)]; err != nil || !ok || expected != string(text) {
			return errDiffers
		}
		delete(want, filepath.ToSlash(name))
		return nil
	})
	return err == nil && len(want) == 0
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
