package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/macho"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/jackmordaunt/icns/v3"
	"howett.net/plist"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/statusicon"
)

// bundle is an application to lay out.
type bundle struct {
	binary, version, plist, out string
}

// write lays the bundle out beside its place and then puts it there.
func (b bundle) write() error {
	if filepath.Ext(b.out) != ".app" {
		return fmt.Errorf("writing the bundle: %s does not end in .app", b.out)
	}
	if err := checkBinary(b.binary); err != nil {
		return err
	}
	program, err := os.ReadFile(b.binary)
	if err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	source, err := os.ReadFile(b.plist)
	if err != nil {
		return fmt.Errorf("reading Info.plist: %w", err)
	}
	info, names, err := stamped(source, b.version)
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
		{filepath.Join("MacOS", names.Executable), program, 0o755},
		{filepath.Join("Resources", names.Icon+".icns"), icon, 0o644},
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

// checkBinary says whether path is a program for macOS that can call AppKit safely.
func checkBinary(path string) error {
	const how = "Run `make app` on a Mac, or give -binary a program built for macOS."
	f, err := macho.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return hint.Errorf(how, "reading the program: %w", err)
	case err != nil:
		fat, fatErr := macho.OpenFat(path)
		if fatErr != nil {
			return hint.Errorf(how, "laying out the bundle: %s is not a program for macOS: %w", path, err)
		}
		defer fat.Close()
	default:
		defer f.Close()
		if f.Type != macho.TypeExec {
			return hint.Errorf(how, "laying out the bundle: %s is not a program but a %s", path, f.Type)
		}
	}
	bi, err := buildinfo.ReadFile(path)
	if err != nil {
		return hint.Errorf(how, "reading how %s was built: %w", path, err)
	}
	if err := cocoa.CheckSettings(bi.Settings); err != nil {
		return fmt.Errorf("laying out the bundle around %s: %w", path, err)
	}
	return nil
}

// files are the names that Info.plist gives to files of the bundle.
type files struct{ Executable, Icon string }

// release is how a version begins that git describe made of a tag.
var release = regexp.MustCompile(`^v?([0-9]+(?:\.[0-9]+){0,2})`)

// stamped returns the Info.plist in source with the version written in, and the names it gives. macOS compares versions
// by up to three numbers; the whole version is kept in CALVersion.
func stamped(source []byte, version string) ([]byte, files, error) {
	number := release.FindStringSubmatch(version)
	if number == nil {
		return nil, files{}, fmt.Errorf("stamping Info.plist: version %q does not begin with a number", version)
	}
	info := map[string]any{}
	if _, err := plist.Unmarshal(source, &info); err != nil {
		return nil, files{}, fmt.Errorf("reading Info.plist: %w", err)
	}
	names := files{text(info["CFBundleExecutable"]), strings.TrimSuffix(text(info["CFBundleIconFile"]), ".icns")}
	for _, name := range []string{names.Executable, names.Icon} {
		if name == "" || filepath.Base(name) != name {
			return nil, files{}, fmt.Errorf("reading Info.plist: %q is no name for the program or the icon", name)
		}
	}
	info["CFBundleShortVersionString"] = number[1]
	info["CFBundleVersion"] = number[1]
	info["CALVersion"] = version
	var out bytes.Buffer
	encoder := plist.NewEncoderForFormat(&out, plist.XMLFormat)
	encoder.Indent("\t")
	if err := encoder.Encode(info); err != nil {
		return nil, files{}, fmt.Errorf("stamping Info.plist: %w", err)
	}
	return out.Bytes(), names, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

// iconTypes are the pictures of an .icns: sides in pixels, and the type that names the size and whether it is for
// Retina displays.
var iconTypes = []icns.OsType{
	{ID: "ic10", Size: 1024},
	{ID: "ic14", Size: 512},
	{ID: "ic09", Size: 512},
	{ID: "ic13", Size: 256},
	{ID: "ic08", Size: 256},
	{ID: "ic07", Size: 128},
	{ID: "ic12", Size: 64},
	{ID: "ic11", Size: 32},
}

// appIcon returns the program's icon as .icns, drawn anew at each size; drawing takes a while.
var appIcon = sync.OnceValues(func() ([]byte, error) {
	drawn := map[uint]image.Image{}
	var set icns.IconSet
	for _, t := range iconTypes {
		if drawn[t.Size] == nil {
			drawn[t.Size] = statusicon.AppIcon(int(t.Size))
		}
		set.Icons = append(set.Icons, &icns.Icon{Type: t, Image: drawn[t.Size]})
	}
	var out bytes.Buffer
	if _, err := set.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("drawing the icon: %w", err)
	}
	return out.Bytes(), nil
})
