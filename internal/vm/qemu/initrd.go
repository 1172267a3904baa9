package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/resources"
)

// writeInitrd writes the RAM disk of this start: modules, calinit, seed. It holds the guest's keys, so only QEMU may
// read it.
func (m *machine) writeInitrd(files []vm.SeedFile) error {
	var initrd bytes.Buffer
	first := modulesFile
	if m.Stock {
		first = initrdFile
	}
	head, err := os.ReadFile(filepath.Join(m.dir, first))
	if err != nil {
		return fmt.Errorf("writing its initrd: %w", err)
	}
	initrd.Write(head)
	// Archives begin at a multiple of four bytes; a compressed one may end anywhere.
	initrd.Write(make([]byte, -initrd.Len()&3))
	if !m.Stock {
		calinit, err := resources.CalInit()
		if err != nil {
			return err
		}
		if err := writeInit(&initrd, calinit); err != nil {
			return err
		}
	}
	if err := writeSeed(&initrd, withHostname(files, m.Name)); err != nil {
		return err
	}
	path := filepath.Join(m.dir, bootInitrd)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(path, initrd.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing its initrd: %w", err)
	}
	return m.acc.own(path)
}

// withHostname adds the machine's name to a seed that says nothing about it.
func withHostname(files []vm.SeedFile, name string) []vm.SeedFile {
	hosts := "127.0.0.1 localhost\n127.0.1.1 " + name + "\n::1 localhost ip6-localhost\n"
	for path, text := range map[string]string{"/etc/hostname": name + "\n", "/etc/hosts": hosts} {
		given := false
		for _, f := range files {
			given = given || f.Path == path
		}
		if !given {
			files = append(files[:len(files):len(files)], vm.SeedFile{Path: path, Mode: 0o644, Data: []byte(text)})
		}
	}
	return files
}
