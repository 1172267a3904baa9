package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// contents is what a clone copies: the machine's files, and beside them the double's own idea of what is on the disk.
var contents = append([]string{overlay, savedState, guestHome, guestHostKey}, bundleFiles...)

// clone copies a local or remote machine (rows 7, 9-19).
func clone(ctx context.Context, h *home, a *arguments) error {
	from, to := a.positionals[0], a.positionals[1]
	if strings.Contains(to, "/") {
		return failUsage("", "<new-name> should be a local name")
	}
	source, err := h.source(ctx, from)
	if err != nil {
		return err
	}
	dir, lock, err := h.tempDir()
	if err != nil {
		return err
	}
	defer lock.Close()
	defer os.RemoveAll(dir)
	whole, err := lockDir(h.dir, true) // row 18
	if err != nil {
		return err
	}
	defer whole.Close()
	c, err := source.config()
	if err != nil {
		return err
	}
	taken, err := h.macTaken(c.MACAddress)
	if err != nil {
		return err
	}
	if err := copyContents(ctx, source.dir, dir); err != nil {
		return err
	}
	fresh := machine{to, dir}
	if taken && !source.suspended() {
		c.MACAddress = randomMAC()
		if err := errors.Join(fresh.save(c), removeIfThere(fresh.file(savedState))); err != nil {
			return err
		}
	}
	return h.replace(dir, to)
}

// source resolves what is cloned; a remote image that is not cached is pulled, a cached one is not asked for again.
func (h *home) source(ctx context.Context, from string) (machine, error) {
	if !isRemote(from) {
		return h.open(from)
	}
	cached := machine{from, h.cached(from)}
	if !cached.complete() {
		if err := h.pullImage(ctx, from); err != nil {
			return cached, err
		}
	}
	return cached, nil
}

func (h *home) macTaken(mac string) (bool, error) {
	all, err := h.machines()
	if err != nil {
		return false, err
	}
	taken := false
	for _, m := range all {
		c, err := m.config()
		if err != nil {
			return false, err // row 19: any broken machine fails the clone of another
		}
		taken = taken || c.MACAddress == mac
	}
	return taken, nil
}

// replace moves dir to vms/name, in place of whatever is there (rows 10 and 11).
func (h *home) replace(dir, name string) error {
	target := h.path("vms", name)
	old := dir + ".old"
	if err := os.Rename(target, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(os.Rename(dir, target), os.RemoveAll(old))
}

func copyContents(ctx context.Context, from, to string) error {
	for _, name := range contents {
		err := filepath.WalkDir(filepath.Join(from, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			return copyEntry(path, filepath.Join(to, rel), d)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func copyEntry(from, to string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		return os.MkdirAll(to, info.Mode().Perm()|0o700)
	case d.Type()&fs.ModeSymlink != 0:
		link, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(link, to)
	case d.Type().IsRegular():
		return copySparse(from, to, info)
	}
	return nil
}

// copySparse copies what a file holds and leaves its holes: disks are large and empty.
func copySparse(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); at < info.Size(); {
		data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		if at, err = unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, data), io.NewSectionReader(in, data, at-data)); err != nil {
			return err
		}
	}
	return out.Close()
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// create makes an empty machine, in place of whatever has its name.
func create(_ context.Context, h *home, a *arguments) error {
	if a.has("--linux") == a.has("--from-ipsw") {
		return failUsage("", "Please specify either a --from-ipsw or --linux option!")
	}
	size, err := a.number("--disk-size", "50")
	if err != nil {
		return err
	}
	dir, lock, err := h.tempDir()
	if err != nil {
		return err
	}
	defer lock.Close()
	defer os.RemoveAll(dir)
	guestOS := "darwin"
	if a.has("--linux") {
		guestOS = "linux"
	}
	if err := writeBundle(dir, newConfig(guestOS), size); err != nil {
		return err
	}
	return h.replace(dir, a.positionals[0])
}

func writeBundle(dir string, c config, diskGB int) error {
	m := machine{"", dir}
	err := errors.Join(m.save(c), os.WriteFile(m.file("nvram.bin"), []byte("nvram"), 0o644),
		os.WriteFile(m.file("disk.img"), []byte("disk"), 0o644))
	if err != nil {
		return err
	}
	return os.Truncate(m.file("disk.img"), int64(diskGB)*1e9)
}

// remove is `tart delete` (rows 6, 39 and 40).
func remove(_ context.Context, h *home, a *arguments) error {
	for _, name := range a.positionals {
		if isRemote(name) {
			if !exists(h.cached(name)) {
				return noSuchVM(name)
			}
			if err := os.Remove(h.tagLink(name)); err != nil {
				return err
			}
			continue
		}
		m := machine{name, h.path("vms", name)}
		if !exists(m.dir) {
			return noSuchVM(name)
		}
		if exists(m.file("config.json")) {
			lock, err := m.tryLock()
			if err != nil {
				return failA(1, `VM "%s" is running`, name)
			}
			defer lock.Close()
		}
		if err := os.RemoveAll(m.dir); err != nil {
			return err
		}
	}
	return nil
}

// rename takes no lock (row 64).
func rename(_ context.Context, h *home, a *arguments) error {
	from, to := a.positionals[0], a.positionals[1]
	switch {
	case strings.Contains(to, "/"):
		return failUsage("", "<new-name> should be a local name")
	case !exists(h.path("vms", from)):
		return failUsage("", "failed to rename a non-existent local VM: %s", from)
	case exists(h.path("vms", to)):
		return failUsage("", "failed to rename VM %s, target VM %s already exists, delete it first!", from, to)
	}
	return os.Rename(h.path("vms", from), h.path("vms", to))
}
