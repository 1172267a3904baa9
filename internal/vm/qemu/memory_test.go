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
func TestMemoryOfBeforeTheBalloon(t *testing.T) {
	d := tinyDriver(t)
	create(t, d, "m")
	m, unlock, err := d.open(t.Context(), "m", "test")
	must(t, err)
	defer unlock()
	size := int64(m.MemoryMiB) << 20
	now := launch{record: m.record, incoming: true}
	before := now
	before.plain = true
	save := func(id string, shape []string) {
		must(t, os.MkdirAll(filepath.Join(m.dir, memoryDir, id), 0o700))
		text, err := json.Marshal(savedMemory{QEMU: "7", Machine: shape, RAM: size, Synced: true})
		must(t, err)
		must(t, os.WriteFile(m.memoryPath(id, memoryFile), text, 0o600))
		must(t, os.WriteFile(m.memoryPath(id, stateFile), nil, 0o600))
		must(t, os.WriteFile(m.memoryPath(id, ramFile), nil, 0o600))
		must(t, os.Truncate(m.memoryPath(id, ramFile), size))
	}
	save("new", now.shape())
	save("old", before.shape())
	save("other", append(now.shape(), "-device another"))
	for id, plain := range map[string]bool{"new": false, "old": true} {
		r, err := m.openMemory(id, now)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		r.close()
		if has := slices.Contains(r.launch.commandLine(), balloon); r.launch.plain != plain || has == plain {
			t.Errorf("%s: without a balloon: %v, with one: %v", id, r.launch.plain, has)
		}
	}
	var useless *giveUp
	if _, err := m.openMemory("other", now); !errors.As(err, &useless) {
		t.Errorf("memory of another machine: %v", err)
	}
}
