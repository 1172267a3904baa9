package config

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// Resources are what a new machine gets.
type Resources struct {
	CPU      int
	MemoryMB int // MiB
	DiskGB   int // GiB
}

// Defaults chooses a new machine's resources where nobody else did. A macOS guest gets 4 processors, 8192 MB and 80 GB;
// a Linux guest 2, 2048 MB and 20 GB. Neither gets more processors than the host has, nor more than half of its memory
// while that leaves what the guest needs at least (Check). hostMemMiB 0 is not known.
func Defaults(guestOS string, hostCPUs, hostMemMiB int) Resources {
	r, least := Resources{CPU: 2, MemoryMB: 2048, DiskGB: 20}, leastLinux
	if guestOS == "darwin" {
		r, least = Resources{CPU: 4, MemoryMB: 8192, DiskGB: 80}, leastDarwin
	}
	r.CPU = max(least.CPU, min(r.CPU, hostCPUs))
	if hostMemMiB > 0 {
		r.MemoryMB = max(least.MemoryMB, min(r.MemoryMB, hostMemMiB/2))
	}
	return r
}

// What a guest cannot do with less than. For macOS these are the limits of the owner's design; for Linux those of the
// Debian guest.
var (
	leastDarwin = Resources{CPU: 2, MemoryMB: 4096, DiskGB: 50}
	leastLinux  = Resources{CPU: 1, MemoryMB: 512, DiskGB: 4}
)

// Check tells, as a *Problems, which resources are too small for a guest of this system ("darwin" or "linux").
func (v *View) Check(guestOS string) error {
	least, name := leastLinux, "Linux"
	if guestOS == "darwin" {
		least, name = leastDarwin, "macOS"
	}
	problems := &Problems{}
	tooSmall := func(key string, have, need int, unit string) {
		if have < need {
			problems.add(Problem{
				File: v.values[key].origin, Key: key, Value: fmt.Sprint(have), What: "too small:",
				Expected: fmt.Sprintf("at least %d%s for a %s guest", need, unit, name),
			})
		}
	}
	tooSmall(keyCPU, v.VM.CPU, least.CPU, "")
	tooSmall(keyMemory, v.VM.MemoryMB, least.MemoryMB, " MB")
	tooSmall(keyDisk, v.VM.DiskGB, least.DiskGB, " GB")
	return problems.err()
}

// Warnings tells what is allowed but more than this host has, one sentence each.
func (v *View) Warnings() []string {
	cpus, memory := hostResources()
	var all []string
	if v.VM.CPU > cpus {
		all = append(all, fmt.Sprintf("%s is %d (%s), the host has %d processors", keyCPU, v.VM.CPU,
			v.values[keyCPU].origin, cpus))
	}
	if memory > 0 && v.VM.MemoryMB > memory {
		all = append(all, fmt.Sprintf("%s is %d MB (%s), the host has %d MB", keyMemory, v.VM.MemoryMB,
			v.values[keyMemory].origin, memory))
	}
	return all
}

// hostResources returns the host's processors and memory in MiB (0: not known).
func hostResources() (cpus, memMiB int) { return runtime.NumCPU(), hostMemory() }

// expandHome makes a path that begins with ~/ absolute, and cleans it.
func expandHome(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if user, err := os.UserHomeDir(); err == nil {
			path = filepath.Join(user, rest)
		}
	}
	return filepath.Clean(path)
}

// TerminalCommand is the terminal's command as words, to which the session's command is appended; nil is auto.
func (s Settings) TerminalCommand() ([]string, error) {
	if s.Terminal == "auto" {
		return nil, nil
	}
	words, err := SplitWords(s.Terminal)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("reading terminal %q: %w", s.Terminal, err),
			"set terminal in config.yaml to auto or to a command")
	}
	return words, nil
}

// PrefixByte is the byte the prefix key sends: ctrl-] is 0x1d.
func (s SessionSettings) PrefixByte() byte {
	return strings.ToUpper(s.PrefixKey)[len(s.PrefixKey)-1] & 0x1f
}
