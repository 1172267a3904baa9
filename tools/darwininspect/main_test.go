package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inspect runs the command on a program and returns what it says.
func inspect(t *testing.T, data []byte, args ...string) (code int, said string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	code = run(append(args, path), &out, &problems)
	return code, out.String() + problems.String()
}

func TestGoodPrograms(t *testing.T) {
	for _, arch := range []string{"arm64", "amd64"} {
		p := good(arch)
		for _, sign := range []bool{p.sign, true} {
			p.sign = sign
			code, said := inspect(t, p.bytes(), "-version", "v1.2.3", "-host", "/home/builder")
			want := "(" + arch + "): macOS 13.0 or newer, 2 libraries, 2 symbols of them, classes MenuItem: nothing wrong"
			if code != 0 || !strings.Contains(said, want) {
				t.Errorf("%s: exit code %d, %q, want 0 and %q", arch, code, said, want)
			}
		}
	}
}

// Everything that is checked is broken once: each of these must be refused, and for its reason.
func TestBrokenPrograms(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*program)
		want  string
	}{
		{"a library", func(p *program) { p.fileType = 6 }, "not a program but a"},
		{"fixed address", func(p *program) { p.flags &^= 0x200000 }, "flag missing: PIE"},
		{"flat names", func(p *program) { p.flags &^= 0x80 }, "flag missing: TWOLEVEL"},
		{"executable stack", func(p *program) { p.flags |= 0x20000 }, "stack may be executed"},
		{"for iOS", func(p *program) { p.platform = 2 }, "built for platform 2, not macOS"},
		{"for a newer macOS", func(p *program) { p.oldest = 14<<16 | 2<<8 }, "oldest macOS is 14.2, not 13.0"},
		{"for an older macOS", func(p *program) { p.oldest = 12 << 16 }, "oldest macOS is 12.0, not 13.0"},
		{"unknown framework", func(p *program) { p.dylibs[1] = framework("Bras", "A") }, "Bras\" is not allowed"},
		{"library of the builder's", func(p *program) { p.dylibs[0] = "/usr/local/lib/libffi.dylib" }, "libffi.dylib\" is not"},
		{"library twice", func(p *program) { p.dylibs = append(p.dylibs, p.dylibs[0]) }, "is loaded twice"},
		{"run path", func(p *program) { p.rpath = "@loader_path/.." }, "run path"},
		{"symbol from anywhere", func(p *program) { p.symbols[0].ordinal = dynamicLookup }, "_malloc is looked for when"},
		{"symbol from nowhere", func(p *program) { p.symbols[0].ordinal = 3 }, "_malloc comes from no library"},
		{"stripped", func(p *program) { p.symbols = nil }, "no symbol table"},
		{"unknown class", func(p *program) { p.symbols[2].name = classPrefix + "Bra" }, "class Bra is not allowed"},
		{"class twice", func(p *program) { p.symbols, p.classes = append(p.symbols, p.symbols[2]), 2 }, "MenuItem is defined twice"},
		{"class of a library", func(p *program) {
			p.symbols = append(p.symbols, symbol{name: classPrefix + "MenuItem", ordinal: 2})
		}, "MenuItem is defined here and in a library"},
		{"class without a name", func(p *program) { p.classes = 2 }, "2 classes are defined and 1 have a name"},
		{"without the compiler's flag", func(p *program) { p.set("-gcflags", "") }, "compiled without the flag"},
		{"with the flag for main alone", func(p *program) { p.set("-gcflags", "-d=variablemakehash=qn") }, "without the flag"},
		{"without -trimpath", func(p *program) { p.set("-trimpath", "false") }, `-trimpath="false", not "true"`},
		{"without cgo", func(p *program) { p.set("CGO_ENABLED", "0") }, `CGO_ENABLED="0", not "1"`},
		{"build information of another", func(p *program) { p.set("GOARCH", "amd64") }, `GOARCH="amd64", not "arm64"`},
		{"no build information", func(p *program) { p.settings = nil }, "reading how it was built"},
		{"no version", func(p *program) { p.constants = "hello" }, `version "v1.2.3" is not stamped`},
		{"version where Go writes it", func(p *program) {
			p.constants = "hello"
			p.settings = append(p.settings, [2]string{"vcs.tag", "v1.2.3"})
		}, `version "v1.2.3" is not stamped`},
		{"path of the builder's", func(p *program) { p.constants += "/home/builder/x.go" }, "/home/builder/x.go"},
		{"not signed", func(p *program) { p.sign = false }, "not signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := good("arm64")
			tt.spoil(&p)
			code, said := inspect(t, p.bytes(), "-version", "v1.2.3", "-host", "/home/builder")
			if code != 1 || !strings.Contains(said, tt.want) {
				t.Errorf("exit code %d, %q, want 1 and %q", code, said, tt.want)
			}
		})
	}
}

// A byte that changes anywhere under the signature is found.
func TestTamperedPages(t *testing.T) {
	p := good("arm64")
	p.constants += strings.Repeat(".", 3*page)
	for i, at := range []int{25, page + 1, 2*page + 7, 3*page + page/2} {
		data := p.bytes()
		data[at] ^= 1
		code, said := inspect(t, data)
		if i == 0 && code == 2 { // within the header, where it may no longer be a program at all
			continue
		}
		if code != 1 || !strings.Contains(said, "was changed after it was signed") {
			t.Errorf("byte %d: exit code %d, %q", at, code, said)
		}
	}
}

// Signatures that are cut or lie about their lengths are refused, not followed.
func TestBrokenSignatures(t *testing.T) {
	good := good("arm64").bytes()
	start := bytes.LastIndex(good, binary.BigEndian.AppendUint32(nil, superBlob))
	directory := start + 20
	for _, tt := range []struct {
		name  string
		at    int
		value uint32
		want  string
	}{
		{"no super blob", start, 0, "no super blob"},
		{"endless index", start + 8, 1 << 30, "index is longer"},
		{"no code directory", start + 12, 7, "no code directory"},
		{"directory outside", start + 16, 1 << 31, "code directory is none"},
		{"another blob for it", directory, superBlob, "code directory is none"},
		{"endless directory", directory + 4, 1 << 31, "longer than itself"},
		{"hashes outside", directory + 16, 1 << 31, "are signed"},
		{"fewer pages", directory + 28, 1, "1 pages up to"},
		{"endless pages", directory + 28, 1<<32 - 1, "are signed"},
		{"less than all", directory + 32, page, "are signed"},
		{"another hash", directory + 36, 20<<24 | 1<<16 | 12, "hashes of type 1"},
		{"endless page", directory + 36, 32<<24 | 2<<16 | 60, "2^60 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := bytes.Clone(good)
			binary.BigEndian.PutUint32(data[tt.at:], tt.value)
			if code, said := inspect(t, data); code != 1 || !strings.Contains(said, tt.want) {
				t.Errorf("exit code %d, %q, want 1 and %q", code, said, tt.want)
			}
		})
	}
	if code, said := inspect(t, good[:start+30]); code != 1 || !strings.Contains(said, "lies outside") {
		t.Errorf("cut: exit code %d, %q", code, said)
	}
}

// In a universal program every slice is looked at.
func TestUniversal(t *testing.T) {
	universal := func(slices ...program) []byte {
		big := binary.BigEndian
		data := big.AppendUint32(nil, 0xcafebabe)
		data = big.AppendUint32(data, uint32(len(slices)))
		var bodies []byte
		for _, p := range slices {
			b := p.bytes()
			for _, v := range []uint32{uint32(p.cpu), 0, uint32(page + len(bodies)), uint32(len(b)), 12} {
				data = big.AppendUint32(data, v)
			}
			bodies = append(bodies, b...)
			bodies = append(bodies, make([]byte, (page-len(bodies)%page)%page)...)
		}
		return append(append(data, make([]byte, page-len(data))...), bodies...)
	}
	arm, intel := good("arm64"), good("amd64")
	if code, said := inspect(t, universal(intel, arm)); code != 0 || strings.Count(said, "nothing wrong") != 2 {
		t.Errorf("exit code %d, %q, want both slices", code, said)
	}
	intel.oldest = 12 << 16
	if code, said := inspect(t, universal(arm, intel)); code != 1 || !strings.Contains(said, "(amd64): its oldest macOS") {
		t.Errorf("exit code %d, %q, want the second slice refused", code, said)
	}
}

func TestNotForMacOS(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip("this test reads itself, as Linux lets it: ", err)
	}
	arm := good("arm64")
	arm.cpu = 12 // 32 bits
	for name, data := range map[string][]byte{"empty": nil, "for Linux": self, "for arm": arm.bytes()} {
		if code, said := inspect(t, data); code != 2 {
			t.Errorf("%s: exit code %d, %q, want 2", name, code, said)
		}
	}
	for _, args := range [][]string{nil, {"-unknown", "x"}, {"-host", "/", "x"}, {filepath.Join(t.TempDir(), "missing")}} {
		var out bytes.Buffer
		if code := run(args, &out, &out); code != 2 {
			t.Errorf("%q: exit code %d, want 2", args, code)
		}
	}
}
