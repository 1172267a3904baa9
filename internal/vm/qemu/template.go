package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/resources"
)

// A template is a guest that was booted to the instant before its SSH server starts, and saved: a disk layer on the
// image's base and memory that fits it. A new machine has both by hard links and goes on from there, with an identity
// of its own (see template_start.go). In <cache>/templates/<key>/ it is complete: it appears there by one rename, and is
// never written again. Nothing in it is anybody's: it holds no key, and has seen no network.
//
// What machines from one template do have in common is what their kernel chose when it booted and keeps to itself: where
// it lies in memory, the keys of its hash tables, the identifier of the boot. None of them meets another, or the world,
// by anything that depends on it: each is alone in a network of its own.
const (
	templatesDir    = "templates"
	templateDisk    = "disk.qcow2"
	templateFile    = "template.json"
	templateMachine = "template" // the name of the machine it is made by
	// templateVersion changes when templates are made or used differently.
	templateVersion = "3"
	// templatesKept is how many stay in the cache, those used last: each is some hundred MiB, and a key goes out of use
	// with a new image, a new QEMU or other resources.
	templatesKept = 3
	// templateSpace is what making one takes on disk, in bytes, besides its memory.
	templateSpace = 1 << 30
)

// template is template.json.
type template struct {
	Image   string    `json:"image"`
	Created time.Time `json:"created"`
	NoKVM   bool      `json:"no_kvm,omitempty"` // as of a machine's record
	// Files are the prints of the common files it was made with (Options.Common).
	Files []string `json:"files,omitempty"`

	dir string
}

var _ vm.Templater = (*Driver)(nil)

// TemplateReady tells whether Create would use a template for s.
func (d *Driver) TemplateReady(_ context.Context, s vm.Spec) (bool, error) {
	r, err := d.templateRecipe(s)
	if errors.Is(err, vm.ErrUnsupported) || errors.Is(err, vm.ErrNoImage) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, ok := d.findTemplate(r, s)
	return ok, nil
}

// EnsureTemplate makes the template for machines like s unless it is there: it boots a guest of its own for that.
// ErrUnsupported for a stock image, ErrNoImage if the image is not built.
func (d *Driver) EnsureTemplate(ctx context.Context, s vm.Spec, p vm.Progress) error {
	r, err := d.templateRecipe(s)
	if err == nil {
		err = d.ensureTemplate(ctx, r, s, p)
	}
	if err != nil {
		return fmt.Errorf("making a template: %w", err)
	}
	return nil
}

// templateRecipe checks what a template is to be of.
func (d *Driver) templateRecipe(s vm.Spec) (recipe, error) {
	s.Name = templateMachine // of no meaning here
	image, err := d.checkSpec(s)
	if err != nil {
		return recipe{}, err
	}
	r, err := recipeFor(image)
	if err != nil {
		return recipe{}, err
	}
	if r.stock {
		return recipe{}, hint.Wrap(fmt.Errorf("image %s: %w", image, vm.ErrUnsupported), "Its machines are booted.")
	}
	ready, err := d.imageBuilt(r)
	if err == nil && !ready {
		err = fmt.Errorf("image %s: %w", image, vm.ErrNoImage)
	}
	return r, err
}

func (d *Driver) ensureTemplate(ctx context.Context, r recipe, s vm.Spec, p vm.Progress) error {
	if _, ok := d.findTemplate(r, s); ok {
		return nil
	}
	if err := os.MkdirAll(d.templates(), 0o755); err != nil {
		return hint.Wrap(err, cacheHint)
	}
	key, err := d.templateKey(r, s)
	if err != nil {
		return err
	}
	unlock, err := d.lockTemplate(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := d.findTemplate(r, s); ok { // another process made it meanwhile
		return nil
	}
	if err := d.removeHalfMade(ctx, key); err != nil {
		return err
	}
	if err := needSpace(d.templates(), templateSpace+uint64(s.MemoryMiB)<<20, "making a template"); err != nil {
		return err
	}
	if err := d.buildTemplate(ctx, key, r, s, p); err != nil {
		return err
	}
	d.pruneTemplates(ctx, key)
	return nil
}

func (d *Driver) templates() string { return filepath.Join(d.opts.CacheDir, templatesDir) }

// lockTemplate waits until nobody else makes the template.
func (d *Driver) lockTemplate(ctx context.Context, key string) (func(), error) {
	l := flock.New(filepath.Join(d.templates(), key+".lock"))
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("waiting for another process that makes it: %w", err)
	}
	return func() { _ = l.Close() }, nil
}

// findTemplate returns the template a machine like s would be made from, if it is there.
func (d *Driver) findTemplate(r recipe, s vm.Spec) (template, bool) {
	if d.opts.NoTemplates || r.stock {
		return template{}, false
	}
	key, err := d.templateKey(r, s)
	if err != nil {
		return template{}, false
	}
	t, err := readTemplate(filepath.Join(d.templates(), key))
	return t, err == nil
}

func readTemplate(dir string) (template, error) {
	text, err := os.ReadFile(filepath.Join(dir, templateFile))
	if err != nil {
		return template{}, err
	}
	t := template{dir: dir}
	if err := json.Unmarshal(text, &t); err != nil {
		return template{}, fmt.Errorf("reading %s: %w", templateFile, err)
	}
	return t, nil
}

// templateKey names the template of machines like s: whatever decides how such a guest is booted, and what its saved
// memory depends on. The base's file itself is part of it: an image that was built anew from the same recipe is another
// disk.
func (d *Driver) templateKey(r recipe, s vm.Spec) (string, error) {
	qemu, err := lookTool(qemuProgram)
	if err != nil {
		return "", hint.Wrap(err, packageHint(qemuProgram))
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%d\n", templateVersion, r.hash(), templateGiB(s))
	for _, file := range []string{qemu, filepath.Join(d.imageDir(r), baseFile)} {
		print, err := fingerprint(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, print)
	}
	for _, program := range []func() ([]byte, error){resources.CalInit, resources.CalSeed} {
		b, err := program()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%x\n", sha256.Sum256(b))
	}
	fmt.Fprintln(h, strings.Join(prints(d.common()), "\n"))
	like := launch{record: record{CPU: s.CPU, MemoryMiB: s.MemoryMiB}, kvm: d.accel.kvm}
	fmt.Fprintln(h, strings.Join(like.shape(), "\n"))
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// templateGiB is the size of a machine's file system: that of its disk.
func templateGiB(s vm.Spec) int { return max(s.DiskGiB, imageGiB) }

// fingerprint tells a file from whatever may replace it.
func fingerprint(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("looking at %s: %w", name, fs.ErrInvalid)
	}
	return fmt.Sprintf("%s %d %d %d", filepath.Base(name), st.Ino, info.Size(), info.ModTime().UnixNano()), nil
}

// pruneTemplates keeps the templates used last, key among them. What cannot be removed is left for the next time.
func (d *Driver) pruneTemplates(ctx context.Context, key string) {
	files, err := filepath.Glob(filepath.Join(d.templates(), "*", templateFile))
	if err != nil {
		return
	}
	type used struct {
		key  string
		last time.Time
	}
	var others []used
	for _, name := range files {
		info, err := os.Stat(name)
		other := filepath.Base(filepath.Dir(name))
		if err == nil && other != key && !strings.Contains(other, ".") {
			others = append(others, used{other, info.ModTime()})
		}
	}
	sort.Slice(others, func(i, j int) bool { return others[i].last.After(others[j].last) })
	for _, o := range others[min(templatesKept-1, len(others)):] {
		// Gone for whoever looks for it at once; who links its files meanwhile has them, or boots.
		doomed := filepath.Join(d.templates(), o.key+halfMade+newLayerID())
		if err := os.Rename(filepath.Join(d.templates(), o.key), doomed); err == nil {
			_ = os.RemoveAll(doomed)
		}
	}
	d.sweepHalfMade(ctx)
}
