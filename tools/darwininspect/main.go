// Command darwininspect reads programs built for macOS, without running them, and says what is wrong with them.
//
//	darwininspect [-version TEXT] [-host PATH]... PROGRAM...
//
// It looks at what the dynamic linker and the kernel of a Mac will look at: the header, the platform and oldest version of
// macOS, the libraries, where each symbol comes from, the Objective-C classes, the ad hoc signature page by page; and at
// what says how the program was built: the compiler's flag that darwinkit needs, the version stamp, and paths of the
// machine it was built on, which must not be in it. Universal programs are read slice by slice.
package main

import (
	"debug/macho"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var want expected
	flags := flag.NewFlagSet("darwininspect", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&want.version, "version", "", "the version that must be stamped into the program")
	flags.Func("host", "path of the building machine that must not occur (may be given again)", func(s string) error {
		if len(s) < 5 {
			return errors.New("too short to mean anything")
		}
		want.hostPaths = append(want.hostPaths, s)
		return nil
	})
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	code := 0
	for _, path := range flags.Args() {
		slices, err := readSlices(path)
		if err != nil {
			fmt.Fprintf(stderr, "darwininspect: %v\n", err)
			return 2
		}
		for _, s := range slices {
			problems := s.check(want)
			for _, p := range problems {
				fmt.Fprintf(stdout, "%s (%s): %s\n", path, s.arch, p)
				code = 1
			}
			if len(problems) == 0 {
				fmt.Fprintf(stdout, "%s (%s): %s\n", path, s.arch, s.summary())
			}
		}
	}
	return code
}

// slice is a program for one processor.
type slice struct {
	arch string
	data []byte
	file *macho.File
}

// readSlices reads a program, or each program in a universal one.
func readSlices(path string) ([]*slice, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the program: %w", err)
	}
	fat, err := macho.NewFatFile(strings.NewReader(string(data)))
	if errors.Is(err, macho.ErrNotFat) {
		s, err := newSlice(data)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		return []*slice{s}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	defer fat.Close()
	var all []*slice
	for _, arch := range fat.Arches {
		// NewFatFile has read each of them, so they lie within the file.
		s, err := newSlice(data[arch.Offset : uint64(arch.Offset)+uint64(arch.Size)])
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func newSlice(data []byte) (*slice, error) {
	f, err := macho.NewFile(strings.NewReader(string(data)))
	if err != nil {
		return nil, err
	}
	arch, ok := map[macho.Cpu]string{macho.CpuArm64: "arm64", macho.CpuAmd64: "amd64"}[f.Cpu]
	if !ok {
		return nil, fmt.Errorf("it is for the processor %s, not arm64 or amd64", f.Cpu)
	}
	return &slice{arch, data, f}, nil
}
