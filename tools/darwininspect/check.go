package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/calmenu/calmenu/internal/desktop/cocoa"
)

// expected is what only the builder of a program knows.
type expected struct {
	version   string
	hostPaths []string
}

// Load commands and constants that debug/macho does not name. Source: mach-o/loader.h and nlist.h.
const (
	loadDylib         = 0xc
	loadWeakDylib     = 0x80000018
	reexportDylib     = 0x8000001f
	lazyLoadDylib     = 0x20
	loadUpwardDylib   = 0x80000023
	loadCodeSignature = 0x1d
	minimumMacOS      = 0x24
	buildVersion      = 0x32
	platformMacOS     = 1
	minimum           = 13 << 16 // macOS 13.0

	symbolType      = 0x0e // mask of nlist's n_type
	symbolStab      = 0xe0
	symbolUndefined = 0
	dynamicLookup   = 0xfe // library ordinals: found nowhere at link time
	executable      = 0xff
)

// check returns what is wrong with a program.
func (s *slice) check(want expected) []string {
	var problems []string
	for _, c := range []func() []string{
		s.header, s.platform, s.libraries, s.symbols, s.classes, s.signature,
		func() []string { return s.build(want.version) },
		func() []string { return s.paths(want.hostPaths) },
	} {
		problems = append(problems, c()...)
	}
	return problems
}

func (s *slice) summary() string {
	minOS := s.commands(buildVersion)
	return fmt.Sprintf("macOS %d.%d or newer, %d libraries, %d symbols of them, classes %s: nothing wrong",
		minOS[0][14], minOS[0][13], len(s.dylibs()), len(s.undefined()), strings.Join(s.definedClasses(), " "))
}

// commands returns the load commands of a kind.
func (s *slice) commands(kinds ...uint32) (found [][]byte) {
	for _, l := range s.file.Loads {
		if raw := l.Raw(); len(raw) >= 16 && slices.Contains(kinds, binary.LittleEndian.Uint32(raw)) {
			found = append(found, raw)
		}
	}
	return found
}

func (s *slice) header() (problems []string) {
	if s.file.Type != macho.TypeExec {
		problems = append(problems, fmt.Sprintf("not a program but a %s", s.file.Type))
	}
	for _, f := range []struct {
		flag uint32
		name string
	}{
		{macho.FlagPIE, "PIE: it is not loaded at a random address"},
		{macho.FlagTwoLevel, "TWOLEVEL: symbols are looked for in all libraries"},
		{macho.FlagDyldLink, "DYLDLINK: it is not dynamically linked"},
		{macho.FlagNoUndefs, "NOUNDEFS: it has undefined symbols"},
	} {
		if s.file.Flags&f.flag == 0 {
			problems = append(problems, "flag missing: "+f.name)
		}
	}
	if s.file.Flags&macho.FlagAllowStackExecution != 0 {
		problems = append(problems, "its stack may be executed")
	}
	return problems
}

func (s *slice) platform() (problems []string) {
	versions := s.commands(buildVersion)
	if len(versions) != 1 || len(s.commands(minimumMacOS)) > 0 {
		return []string{"not exactly one LC_BUILD_VERSION says which system it is for"}
	}
	platform, oldest := binary.LittleEndian.Uint32(versions[0][8:]), binary.LittleEndian.Uint32(versions[0][12:])
	if platform != platformMacOS {
		problems = append(problems, fmt.Sprintf("built for platform %d, not macOS", platform))
	}
	if oldest != minimum {
		problems = append(problems, fmt.Sprintf("its oldest macOS is %d.%d, not 13.0", oldest>>16, oldest>>8&0xff))
	}
	return problems
}

// dylibs returns the libraries in the order of their ordinals.
func (s *slice) dylibs() (names []string) {
	for _, raw := range s.commands(loadDylib, loadWeakDylib, reexportDylib, lazyLoadDylib, loadUpwardDylib) {
		offset := binary.LittleEndian.Uint32(raw[8:])
		if uint64(offset) > uint64(len(raw)) {
			names = append(names, "")
			continue
		}
		name, _, _ := bytes.Cut(raw[offset:], []byte{0})
		names = append(names, string(name))
	}
	return names
}

func (s *slice) libraries() (problems []string) {
	found := s.dylibs()
	for i, name := range found {
		if allowedLibraries[name] == "" {
			problems = append(problems, fmt.Sprintf("library %q is not allowed", name))
		}
		if slices.Index(found, name) < i {
			problems = append(problems, fmt.Sprintf("library %q is loaded twice", name))
		}
	}
	if len(s.commands(uint32(macho.LoadCmdRpath))) > 0 {
		problems = append(problems, "it looks for libraries along a run path")
	}
	return problems
}

// undefined returns the symbols that libraries must provide.
func (s *slice) undefined() (found []macho.Symbol) {
	if s.file.Symtab == nil {
		return nil
	}
	for _, sym := range s.file.Symtab.Syms {
		if sym.Type&symbolStab == 0 && sym.Type&symbolType == symbolUndefined {
			found = append(found, sym)
		}
	}
	return found
}

func (s *slice) symbols() (problems []string) {
	undefined, libraries := s.undefined(), s.dylibs()
	if len(undefined) == 0 {
		return []string{"no symbol comes from a library: it has no symbol table"}
	}
	for _, sym := range undefined {
		switch ordinal := int(sym.Desc >> 8); {
		case ordinal == dynamicLookup:
			problems = append(problems, fmt.Sprintf("%s is looked for when the program runs (-undefined dynamic_lookup)", sym.Name))
		case ordinal == executable || ordinal == 0 || ordinal > len(libraries):
			problems = append(problems, fmt.Sprintf("%s comes from no library", sym.Name))
		}
	}
	return problems
}

const classPrefix = "_OBJC_CLASS_$_"

// definedClasses returns the Objective-C classes that the program defines, sorted, each as often as it is defined.
func (s *slice) definedClasses() (names []string) {
	if s.file.Symtab == nil {
		return nil
	}
	for _, sym := range s.file.Symtab.Syms {
		name, ok := strings.CutPrefix(sym.Name, classPrefix)
		if ok && sym.Type&symbolStab == 0 && sym.Type&symbolType != symbolUndefined {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *slice) classes() (problems []string) {
	defined := s.definedClasses()
	for i, name := range defined {
		if i > 0 && name == defined[i-1] {
			problems = append(problems, fmt.Sprintf("class %s is defined twice", name))
		}
		if allowedClasses[name] == "" {
			problems = append(problems, fmt.Sprintf("class %s is not allowed", name))
		}
	}
	for _, sym := range s.undefined() {
		if name, ok := strings.CutPrefix(sym.Name, classPrefix); ok && slices.Contains(defined, name) {
			problems = append(problems, fmt.Sprintf("class %s is defined here and in a library", name))
		}
	}
	// The list that the Objective-C runtime reads must be as long, or the symbol table hides some.
	for _, section := range s.file.Sections {
		if section.Name == "__objc_classlist" && section.Size/8 != uint64(len(defined)) {
			problems = append(problems, fmt.Sprintf("%d classes are defined and %d have a name", section.Size/8, len(defined)))
		}
	}
	return problems
}

// build checks what says how the program was built.
func (s *slice) build(version string) (problems []string) {
	info, err := buildinfo.Read(bytes.NewReader(s.data))
	if err != nil {
		return []string{"reading how it was built: " + err.Error()}
	}
	if err := cocoa.CheckSettings(info.Settings); err != nil {
		problems = append(problems, err.Error())
	}
	got := map[string]string{}
	for _, setting := range info.Settings {
		got[setting.Key] = setting.Value
	}
	for _, want := range [][2]string{{"GOOS", "darwin"}, {"GOARCH", s.arch}, {"CGO_ENABLED", "1"}, {"-trimpath", "true"}} {
		if got[want[0]] != want[1] {
			problems = append(problems, fmt.Sprintf("built with %s=%q, not %q", want[0], got[want[0]], want[1]))
		}
	}
	if version != "" && !s.stamped(version) {
		problems = append(problems, fmt.Sprintf("the version %q is not stamped into it", version))
	}
	return problems
}

// stamped says whether the version lies among the program's constants. The build information does not count: the go
// command writes a version there by itself.
func (s *slice) stamped(version string) bool {
	for _, section := range s.file.Sections {
		if section.Name != "__rodata" && section.Name != "__noptrdata" && section.Name != "__cstring" {
			continue
		}
		if data, err := section.Data(); err == nil && bytes.Contains(data, []byte(version)) {
			return true
		}
	}
	return false
}

// paths looks for the building machine's.
func (s *slice) paths(host []string) (problems []string) {
	for _, path := range host {
		if i := bytes.Index(s.data, []byte(path)); i >= 0 {
			end := min(i+len(path)+40, len(s.data))
			problems = append(problems, fmt.Sprintf("it contains a path of the building machine: %q", s.data[i:end]))
		}
	}
	return problems
}
