//go:build linux

package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMemoryOfOlderMachines: what was saved in a machine with other devices is resumed in one with the same.
func TestMemoryOfOlderMachines(t *testing.T) {
	d := tinyDriver(t)
	create(t, d, "m")
	m, unlock, err := d.open(t.Context(), "m", "test")
	must(t, err)
	defer unlock()
	size := int64(m.MemoryMiB) << 20
	now := launch{record: m.record, incoming: true}
	save := func(id string, shape []string) {
		must(t, os.MkdirAll(filepath.Join(m.dir, memoryDir, id), 0o700))
		text, err := json.Marshal(savedMemory{QEMU: "7", Machine: shape, RAM: size, Synced: true})
		must(t, err)
		must(t, os.WriteFile(m.memoryPath(id, memoryFile), text, 0o600))
		must(t, os.WriteFile(m.memoryPath(id, stateFile), nil, 0o600))
		must(t, os.WriteFile(m.memoryPath(id, ramFile), nil, 0o600))
		must(t, os.Truncate(m.memoryPath(id, ramFile), size))
	}
	for of := range generations {
		made := now
		made.made = of
		if got := generationOf(made.commandLine()); got != of {
			t.Errorf("a running machine of generation %d is taken for one of %d", of, got)
		}
		id := fmt.Sprint(of)
		save(id, made.shape())
		r, err := m.openMemory(id, now)
		if err != nil {
			t.Fatalf("generation %d: %v", of, err)
		}
		r.close()
		if got, want := r.launch.commandLine(), made.commandLine(); !slices.Equal(got, want) {
			t.Errorf("generation %d goes on in %q, not %q", of, got, want)
		}
	}
	save("other", append(now.shape(), "-device another"))
	var useless *giveUp
	if _, err := m.openMemory("other", now); !errors.As(err, &useless) {
		t.Errorf("memory of another machine: %v", err)
	}
}

// TestShapesOfBefore: what earlier versions wrote beside memory is still known.
func TestShapesOfBefore(t *testing.T) {
	want := map[generation]string{
		hpetGeneration:  "-M q35,memory-backend=ram|-device virtio-balloon-pci,id=balloon,free-page-reporting=on",
		plainGeneration: "-M q35,memory-backend=ram",
	}
	for of, want := range want {
		s := testLaunch(false)
		s.made = of
		var got []string
		for _, line := range s.shape() {
			if strings.HasPrefix(line, "-M ") || strings.Contains(line, "balloon") {
				got = append(got, line)
			}
		}
		if got := strings.Join(got, "|"); got != want {
			t.Errorf("generation %d: %q, want %q", of, got, want)
		}
	}
}
