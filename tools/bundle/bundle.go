package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// bundle is an application to lay out.
type bundle struct {
	binaries                     []string // the program, once for each processor
	version, plist, out, license string
}

// write lays the bundle out beside its place and then puts it there.
func (b bundle) write() error {
	if filepath.Ext(b.out) != ".app" {
		return fmt.Errorf("writing the bundle: %s does not end in .app", b.out)
	}
	source, err := os.ReadFile(b.plist)
	if err != nil {
		return fmt.Errorf("reading Info.plist: %w", err)
	}
	info, said, err := stamped(source, b.version)
	if err != nil {
		return err
	}
	program, modules, err := universal(b.binaries, said.MinimumSystem)
	if err != nil {
		return err
	}
	license, err := os.ReadFile(b.license)
	if err != nil {
		return fmt.Errorf("reading the licence: %w", err)
	}
	others, err := notices(modules)
	if err != nil {
		return err
	}
	icon, err := appIcon()
	if err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(b.out), ".bundle-")
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	defer os.RemoveAll(temporary)
	contents := filepath.Join(temporary, "Contents")
	for _, file := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{"Info.plist", info, 0o644},
		{"PkgInfo", []byte("APPL????"), 0o644},
		{filepath.Join("MacOS", said.Executable), program, 0o755},
		{filepath.Join("Resources", said.Icon+".icns"), icon, 0o644},
		{filepath.Join("Resources", "LICENSE"), license, 0o644},
		{filepath.Join("Resources", "THIRD-PARTY-LICENSES"), others, 0o644},
	} {
		path := filepath.Join(contents, file.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing the bundle: %w", err)
		}
		if err := os.WriteFile(path, file.data, file.mode); err != nil {
			return fmt.Errorf("writing the bundle: %w", err)
		}
	}
	// MkdirTemp makes folders for its owner alone; an application is for everybody.
	if err := os.Chmod(temporary, 0o755); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	if err := os.RemoveAll(b.out); err != nil {
		return fmt.Errorf("removing the old bundle: %w", err)
	}
	if err := os.Rename(temporary, b.out); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	return nil
}
