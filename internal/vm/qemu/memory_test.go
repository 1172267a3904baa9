//go:build linux

package qemu

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestMemoryOfBeforeTheBalloon: what was saved in a machine without one is resumed in one without.
func TestMemoryOfEarlierVersions(t *testing.T) {
	d := tinyDriver(t)
	create(t, d, "m")
	m, unlock, err := d.open(t.Context(), "m", "test")
	must(t, err)
	defer unlock()
	size := int64(m.MemoryMiB) << 20
	now := launch{record: m.record, incoming: true}
	unported, unballooned := now, now
	unported.without, unballooned.without = serialPorts, theBalloon
	save := func(id string, shape []string) {
		must(t, os.MkdirAll(filepath.Join(m.dir, memoryDir, id), 0o700))
		text, err := json.Marshal(savedMemory{QEMU: "7", Machine: shape, RAM: size, Synced: true})
		must(t, err)
		must(t, os.WriteFile(m.memoryPath(id, memoryFile), text, 0o600))
		must(t, os.WriteFile(m.memoryPath(id, stateFile), nil, 0o600))
		must(t, os.WriteFile(m.memoryPath(id, ramFile), nil, 0o600))
		must(t, os.Truncate(m.memoryPath(id, ramFile), size))
	}
	save("now", now.shape())
	save("before the ports", unported.shape())
	save("before the balloon", unballooned.shape())
	save("other", append(now.shape(), "-device another"))
	for id, without := range map[string]device{"now": none, "before the ports": serialPorts, "before the balloon": theBalloon} {
		r, err := m.openMemory(id, now)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		r.close()
		argv := r.launch.commandLine()
		if r.launch.without != without || lacks(argv) != without {
			t.Errorf("%s: resumed without %v, its command line lacks %v; want %v", id, r.launch.without, lacks(argv), without)
		}
		if slices.Contains(argv, balloon) != (without < theBalloon) || slices.Contains(argv, serialBus) != (without < serialPorts) {
			t.Errorf("%s: %q", id, argv)
		}
	}
	var useless *giveUp
	if _, err := m.openMemory("other", now); !errors.As(err, &useless) {
		t.Errorf("memory of another machine: %v", err)
	}
}
