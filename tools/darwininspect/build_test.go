package main

import (
	"bytes"
	"crypto/sha256"
	"debug/macho"
	"encoding/binary"
	"strings"
)

// program describes a small Mach-O program. good returns one with nothing wrong; tests break it.
type program struct {
	cpu       macho.Cpu
	fileType  macho.Type
	flags     uint32
	platform  uint32
	oldest    uint32
	dylibs    []string
	rpath     string
	symbols   []symbol
	classes   int // entries of __objc_classlist
	settings  [][2]string
	constants string // the program's texts
	sign      bool
}

// symbol is a symbol: from the library with an ordinal, or defined here if that is 0.
type symbol struct {
	name    string
	ordinal uint8
	local   bool // defined here
}

func good(arch string) program {
	cpu := map[string]macho.Cpu{"arm64": macho.CpuArm64, "amd64": macho.CpuAmd64}[arch]
	return program{
		cpu: cpu, fileType: macho.TypeExec, platform: 1, oldest: 13 << 16,
		flags:  macho.FlagPIE | macho.FlagTwoLevel | macho.FlagDyldLink | macho.FlagNoUndefs,
		dylibs: []string{"/usr/lib/libSystem.B.dylib", "/System/Library/Frameworks/AppKit.framework/Versions/C/AppKit"},
		symbols: []symbol{
			{name: "_malloc", ordinal: 1},
			{name: "_OBJC_CLASS_$_NSMenu", ordinal: 2},
			{name: "_OBJC_CLASS_$_MenuItem", local: true},
			{name: "_main", local: true},
		},
		classes: 1,
		settings: [][2]string{
			{"-gcflags", "all=-d=variablemakehash=qn"},
			{"-trimpath", "true"},
			{"CGO_ENABLED", "1"},
			{"GOARCH", arch},
			{"GOOS", "darwin"},
		},
		constants: "hello v1.2.3 world", sign: arch == "arm64",
	}
}

func (p *program) set(key, value string) {
	for i := range p.settings {
		if p.settings[i][0] == key {
			p.settings[i][1] = value
		}
	}
}

const page = 4096

// bytes lays the program out: header and commands in the first page, then the constants, the build information, the list
// of classes, the symbols, and the signature.
func (p program) bytes() []byte {
	le := binary.LittleEndian
	sections := []struct {
		segment, name string
		data          []byte
	}{
		{"__TEXT", "__rodata", []byte(p.constants)},
		{"__DATA", "__go_buildinfo", p.buildInfo()},
		{"__DATA", "__objc_classlist", make([]byte, 8*p.classes)},
	}
	var body bytes.Buffer
	type place struct{ offset, size int }
	put := func(data []byte) place {
		for body.Len()%16 != 0 {
			body.WriteByte(0)
		}
		at := place{page + body.Len(), len(data)}
		body.Write(data)
		return at
	}
	var places []place
	for _, s := range sections {
		places = append(places, put(s.data))
	}
	names := []byte{0}
	var list []byte
	for _, s := range p.symbols {
		entry := make([]byte, 16)
		le.PutUint32(entry, uint32(len(names)))
		entry[4] = 1 // external
		if s.local {
			entry[4] |= 0x0e
			entry[5] = 1
		}
		le.PutUint16(entry[6:], uint16(s.ordinal)<<8)
		list, names = append(list, entry...), append(append(names, s.name...), 0)
	}
	symbols, texts := put(list), put(names)

	var commands []byte
	count := 0
	command := func(kind uint32, fields ...any) {
		var b bytes.Buffer
		for _, f := range fields {
			if s, ok := f.(string); ok {
				b.WriteString(s)
			} else if err := binary.Write(&b, le, f); err != nil {
				panic(err)
			}
		}
		for b.Len()%8 != 0 {
			b.WriteByte(0)
		}
		commands = le.AppendUint32(commands, kind)
		commands = le.AppendUint32(commands, uint32(b.Len()+8))
		commands = append(commands, b.Bytes()...)
		count++
	}
	name := func(s string) [16]byte { return [16]byte([]byte(s + strings.Repeat("\x00", 16))) }
	for i, s := range sections {
		at := places[i]
		address := uint64(0x100000000 + at.offset)
		command(uint32(macho.LoadCmdSegment64), name(s.segment), address, uint64(at.size), uint64(at.offset), uint64(at.size),
			uint32(7), uint32(3), uint32(1), uint32(0),
			name(s.name), name(s.segment), address, uint64(at.size), uint32(at.offset), uint32(4), [5]uint32{}, uint32(0))
	}
	command(uint32(macho.LoadCmdSymtab), uint32(symbols.offset), uint32(len(p.symbols)), uint32(texts.offset), uint32(texts.size))
	command(buildVersion, p.platform, p.oldest, p.oldest, uint32(0))
	for _, d := range p.dylibs {
		command(loadDylib, uint32(24), uint32(0), uint32(1), uint32(1), d, uint8(0))
	}
	if p.rpath != "" {
		command(uint32(macho.LoadCmdRpath), uint32(12), p.rpath, uint8(0))
	}
	signed := page + body.Len()
	slots := (signed + page - 1) / page
	const head = 20
	if p.sign {
		command(loadCodeSignature, uint32(signed), uint32(head+directorySize+32*slots))
	}
	header := le.AppendUint32(nil, macho.Magic64)
	for _, v := range []uint32{uint32(p.cpu), 0, uint32(p.fileType), uint32(count), uint32(len(commands)), p.flags, 0} {
		header = le.AppendUint32(header, v)
	}
	data := append(append(header, commands...), make([]byte, page-len(header)-len(commands))...)
	data = append(data, body.Bytes()...)
	if !p.sign {
		return data
	}
	big := binary.BigEndian
	directory := make([]byte, directorySize)
	big.PutUint32(directory, codeDirectory)
	big.PutUint32(directory[4:], uint32(directorySize+32*slots))
	big.PutUint32(directory[16:], directorySize)
	big.PutUint32(directory[28:], uint32(slots))
	big.PutUint32(directory[32:], uint32(signed))
	directory[36], directory[37], directory[39] = sha256.Size, hashSHA256, 12
	for i := range slots {
		sum := sha256.Sum256(data[i*page : min((i+1)*page, signed)])
		directory = append(directory, sum[:]...)
	}
	for _, v := range []uint32{superBlob, uint32(head + len(directory)), 1, directorySlot, head} {
		data = big.AppendUint32(data, v)
	}
	return append(data, directory...)
}

// buildInfo is what Go 1.18 and newer write for debug/buildinfo: a head of 32 bytes, then two texts by their lengths.
func (p program) buildInfo() []byte {
	if p.settings == nil {
		return nil
	}
	var mod strings.Builder
	mod.WriteString("0123456789abcdefpath\texample.com/planted\n")
	for _, s := range p.settings {
		mod.WriteString("build\t" + s[0] + "=" + s[1] + "\n")
	}
	mod.WriteString("0123456789abcdef")
	info := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, text := range []string{"go1.26.0", mod.String()} {
		info = append(binary.AppendUvarint(info, uint64(len(text))), text...)
	}
	return info
}
