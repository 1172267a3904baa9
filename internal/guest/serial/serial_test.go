package serial

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPortsAreFoundByName: the kernel numbers the devices, and only their names say which is which.
func TestPortsAreFoundByName(t *testing.T) {
	root := t.TempDir()
	p := place{class: filepath.Join(root, "class"), dev: root}
	if _, err := p.open(t.Context(), "calmenu.outbox"); !errors.Is(err, ErrNone) {
		t.Errorf("without the driver: %v", err)
	}
	for device, name := range map[string]string{"vport0p0": "", "vport4p1": "calmenu.outbox\n", "vport4p2": "calmenu.network\n"} {
		must(t, os.MkdirAll(filepath.Join(p.class, device), 0o755))
		if name != "" { // a console has none
			must(t, os.WriteFile(filepath.Join(p.class, device, "name"), []byte(name), 0o644))
		}
		must(t, os.WriteFile(filepath.Join(root, device), []byte(device), 0o600))
	}
	for name, device := range map[string]string{"calmenu.outbox": "vport4p1", "calmenu.network": "vport4p2"} {
		f, err := p.open(t.Context(), name)
		must(t, err)
		if filepath.Base(f.Name()) != device {
			t.Errorf("%s is %s", name, f.Name())
		}
		must(t, f.Close())
	}
	if _, err := p.open(t.Context(), "calmenu"); !errors.Is(err, ErrNone) {
		t.Errorf("another name: %v", err)
	}
}
