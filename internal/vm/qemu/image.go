package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// Files of a finished image's directory, and of a machine, which has them as hard links.
const (
	baseFile    = "base.qcow2"
	kernelFile  = "kernel"
	modulesFile = "modules.cpio"
	initrdFile  = "initrd.img" // of a stock image
	imageFile   = "image.json"
	// registriesFile has the package registries the image came set up for, a URL a line.
	registriesFile = "registries"
)

// buildSpace is what building an image takes on disk, in bytes: the unpacked tree, the raw and the final disk image.
const buildSpace = 4 << 30

const cacheHint = "Set CAL_CACHE to a directory you may write to."

// imageRecord is image.json: what was built, for people. Its presence means nothing; the directory's name does.
type imageRecord struct {
	Image    string    `json:"image"`
	Suite    string    `json:"suite"`
	Built    time.Time `json:"built"`
	Packages []string  `json:"packages"`
}

// imageDir is where an image is when it is complete: it appears there by one rename.
func (d *Driver) imageDir(r recipe) string {
	return filepath.Join(d.opts.CacheDir, "images", r.hash())
}

// ImageReady tells whether EnsureImage would have nothing to do.
func (d *Driver) ImageReady(_ context.Context, image string) (bool, error) {
	name, err := d.imageName(image)
	if err != nil {
		return false, nil // a name nothing can be built for
	}
	r, err := recipeFor(name)
	if err != nil {
		return false, err
	}
	return d.imageBuilt(r)
}

func (d *Driver) imageBuilt(r recipe) (bool, error) {
	_, err := os.Stat(filepath.Join(d.imageDir(r), imageFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// EnsureImage builds an image from Debian's packages unless it is there. It takes a minute or two.
func (d *Driver) EnsureImage(ctx context.Context, image string, p vm.Progress) error {
	name, err := d.imageName(image)
	if err != nil {
		return err
	}
	r, err := recipeFor(name)
	if err != nil {
		return err
	}
	if ready, err := d.imageBuilt(r); ready || err != nil {
		return err
	}
	dir := d.imageDir(r)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("building image %s: %w", name, err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return hint.Wrap(fmt.Errorf("making the image cache: %w", err), cacheHint)
	}
	lock, err := lockImage(ctx, dir+".lock", p)
	if err != nil {
		return err
	}
	defer lock.Close()
	if ready, err := d.imageBuilt(r); ready || err != nil {
		return err
	}
	if err := needSpace(filepath.Dir(dir), buildSpace, "building the guest image"); err != nil {
		return err
	}
	return d.buildImage(ctx, r, dir, lock, p)
}

// lockImage waits until nobody else builds an image. The lock belongs to the open file: the build's tools inherit it,
// so that after a crash of this process nobody begins anew before they have ended.
func lockImage(ctx context.Context, path string, p vm.Progress) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("locking the image cache: %w", err), cacheHint)
	}
	for reported := false; ; reported = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("locking the image cache: %w", err)
		}
		if !reported {
			p.Report(vm.Phase{Name: "waiting for another process that builds the image"})
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			f.Close()
			return nil, fmt.Errorf("waiting for another process that builds the image: %w", err)
		}
	}
}

// buildImage builds beside dir and renames. The caller holds the lock, so whatever lies beside was left by a crash.
func (d *Driver) buildImage(ctx context.Context, r recipe, dir string, lock *os.File, p vm.Progress) error {
	left, err := filepath.Glob(dir + ".building-*")
	if err != nil {
		return err
	}
	for _, old := range left {
		if err := removeTree(ctx, old); err != nil {
			return fmt.Errorf("removing an unfinished image: %w", err)
		}
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".building-")
	if err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	// The clean-up must happen also, and above all, when ctx has ended.
	defer func() { _ = removeTree(context.WithoutCancel(ctx), work) }()
	if err := os.Chmod(work, 0o755); err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	b := builder{recipe: r, dir: work, mirror: d.opts.Mirror, lock: lock, progress: p, root: os.Geteuid() == 0}
	result, err := b.build(ctx)
	if err != nil {
		return err
	}
	record, err := json.MarshalIndent(imageRecord{r.image, suite, time.Now().UTC(), r.packages}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(result, imageFile), append(record, '\n'), 0o644); err != nil {
		return fmt.Errorf("finishing the image: %w", err)
	}
	if err := syncFiles(result); err != nil {
		return fmt.Errorf("finishing the image: %w", err)
	}
	if err := os.Rename(result, dir); err != nil {
		return fmt.Errorf("finishing the image: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

// syncFiles makes a directory of files durable.
func syncFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := syncFile(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func syncDir(dir string) error { return syncFile(dir) }

// needSpace returns ErrNoSpace if the disk that holds dir has less than n bytes free.
func needSpace(dir string, n uint64, doing string) error {
	free, err := freeSpace(dir)
	if err != nil {
		return fmt.Errorf("%s: looking for disk space: %w", doing, err)
	}
	if free >= n {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s: %s is free of the %s needed: %w", doing, gib(free), gib(n), vm.ErrNoSpace),
		"Free disk space on the disk of "+dir+".")
}

func gib(n uint64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// Registries returns the URLs of the package registries a machine's image came set up for: known from when it was built,
// before any guest ran in it.
func (d *Driver) Registries(_ context.Context, name string) ([]string, error) {
	if err := vm.ValidName(name); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(d.machineDir(name), registriesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the registries of machine %q: %w", name, err)
	}
	return strings.Fields(string(text)), nil
}
