package qemu

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/calmenu/calmenu/internal/vm"
)

// common are the files that every guest is given.
func (d *Driver) common() []vm.SeedFile {
	if d.opts.Common == nil {
		return nil
	}
	return d.opts.Common()
}

// prints tells seed files from others: by where they lie, whose they are, and what is in them.
func prints(files []vm.SeedFile) []string {
	all := make([]string, 0, len(files))
	for _, f := range files {
		h := sha256.New()
		fmt.Fprintf(h, "%q %v %d %d ", f.Path, f.Mode, f.UID, f.GID)
		h.Write(f.Data)
		all = append(all, fmt.Sprintf("%x", h.Sum(nil)))
	}
	return all
}

// without leaves out the files that a template's guest, which nobody has used, was given already.
func without(files []vm.SeedFile, given []string) []vm.SeedFile {
	if len(given) == 0 {
		return files
	}
	var rest []vm.SeedFile
	for i, p := range prints(files) {
		if !slices.Contains(given, p) {
			rest = append(rest, files[i])
		}
	}
	return rest
}
