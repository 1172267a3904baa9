package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/macho"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
	"github.com/calmenu/calmenu/internal/hint"
)

// howToBuild is the hint of every refusal of a program.
const howToBuild = "Run `make app` on a Mac, or give -binary a program built for macOS."

// universal returns one program for all processors the given ones are for, each of them checked, and the modules they
// were built from.
func universal(paths []string, minimumSystem string) (program []byte, modules []string, err error) {
	var slices []slice
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, hint.Errorf(howToBuild, "reading the program: %w", err)
		}
		s, err := checkProgram(data, minimumSystem)
		if err != nil {
			return nil, nil, fmt.Errorf("laying out the bundle around %s: %w", path, err)
		}
		for _, other := range slices {
			if other.cpu == s.cpu {
				return nil, nil, hint.Errorf(howToBuild, "laying out the bundle: two programs are for %s", s.cpu)
			}
		}
		slices = append(slices, s)
		modules = append(modules, s.modules...)
	}
	switch len(slices) {
	case 0:
		return nil, nil, hint.Errorf(howToBuild, "laying out the bundle: there is no program")
	case 1:
		return slices[0].data, modules, nil
	}
	program, err = writeFat(slices)
	return program, modules, err
}

// checkProgram says whether data is a program for one processor that macOS from minimumSystem on can run, that needs
// nothing but macOS, and that can call AppKit safely.
func checkProgram(data []byte, minimumSystem string) (slice, error) {
	f, err := macho.NewFile(bytes.NewReader(data))
	if err != nil {
		return slice{}, hint.Errorf(howToBuild, "this is not a program for macOS: %w", err)
	}
	defer f.Close()
	if f.Type != macho.TypeExec {
		return slice{}, hint.Errorf(howToBuild, "this is not a program but a %s", f.Type)
	}
	needs, err := neededSystem(f)
	if err != nil {
		return slice{}, err
	}
	promised, err := systemVersion(minimumSystem)
	if err != nil {
		return slice{}, fmt.Errorf("reading LSMinimumSystemVersion: %w", err)
	}
	if needs > promised {
		return slice{}, hint.Errorf("Build with MACOSX_DEPLOYMENT_TARGET="+minimumSystem+".",
			"this program needs macOS %d.%d, and Info.plist promises %s", needs>>16, needs>>8&0xff, minimumSystem)
	}
	libraries, err := f.ImportedLibraries()
	if err != nil {
		return slice{}, fmt.Errorf("reading the libraries this program needs: %w", err)
	}
	for _, library := range libraries {
		if !strings.HasPrefix(library, "/usr/lib/") && !strings.HasPrefix(library, "/System/Library/") {
			return slice{}, hint.Errorf("Unset LIBRARY_PATH and CGO_LDFLAGS, and build again.",
				"this program needs %s, which is no part of macOS", library)
		}
	}
	bi, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return slice{}, hint.Errorf(howToBuild, "reading how this program was built: %w", err)
	}
	if err := cocoa.CheckSettings(bi.Settings); err != nil {
		return slice{}, err
	}
	s := slice{cpu: f.Cpu, subtype: f.SubCpu, data: data}
	for _, m := range bi.Deps {
		s.modules = append(s.modules, m.Path)
	}
	return s, nil
}

// Load commands that tell the oldest macOS a program runs on (mach-o/loader.h).
const (
	versionMinMacOS = 0x24 // LC_VERSION_MIN_MACOSX: version
	buildVersion    = 0x32 // LC_BUILD_VERSION: platform, minos
	platformMacOS   = 1
)

// neededSystem returns the oldest macOS that a program says it runs on: the major version in the upper 16 bits, then
// the minor one and the patch in 8 each.
func neededSystem(f *macho.File) (uint32, error) {
	for _, load := range f.Loads {
		raw := load.Raw()
		if len(raw) < 16 {
			continue
		}
		switch f.ByteOrder.Uint32(raw) {
		case versionMinMacOS:
			return f.ByteOrder.Uint32(raw[8:]), nil
		case buildVersion:
			if platform := f.ByteOrder.Uint32(raw[8:]); platform != platformMacOS {
				return 0, hint.Errorf(howToBuild, "this program is for platform %d, not for macOS", platform)
			}
			return f.ByteOrder.Uint32(raw[12:]), nil
		}
	}
	return 0, hint.Errorf(howToBuild, "this program does not say which macOS it needs")
}

// systemVersion reads a version of macOS such as 13.0 into the form of neededSystem.
func systemVersion(s string) (uint32, error) {
	major, minor, _ := strings.Cut(s, ".")
	a, err := strconv.ParseUint(major, 10, 16)
	b, err2 := strconv.ParseUint(minor, 10, 8)
	if err := errors.Join(err, err2); err != nil {
		return 0, fmt.Errorf("%q is no version such as 13.0: %w", s, err)
	}
	return uint32(a<<16 | b<<8), nil
}
