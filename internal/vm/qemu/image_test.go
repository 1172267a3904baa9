//go:build linux

package qemu

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// A build that is given up leaves nothing but its lock, and the next one starts anew.
func TestImageBuildCancelled(t *testing.T) {
	needVM(t)
	d := New(Options{Dir: t.TempDir(), CacheDir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := d.EnsureImage(ctx, "", func(p vm.Phase) {
		if p.Name == "downloading packages" || p.Name == "installing packages" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	onlyLocks(t, d)
}

// A build whose process is killed ends with it and leaves no mount; the next build clears away what it left.
func TestImageBuildKilled(t *testing.T) {
	needVM(t)
	cache := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestImageBuildKilledChild$")
	cmd.Env = append(os.Environ(), cacheEnv+"="+cache)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child was not killed: %v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	d := New(Options{Dir: t.TempDir(), CacheDir: cache})
	err = d.EnsureImage(ctx, "", func(p vm.Phase) {
		if p.Name == "reading package lists" {
			cancel() // it has the lock and has cleared away
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the next build: %v", err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), cache) {
		t.Errorf("left mounted: %v\n%s", err, mounts)
	}
	onlyLocks(t, d)
}

// TestImageBuildKilledChild is the process that is killed, while packages are set up in mounted surroundings.
func TestImageBuildKilledChild(t *testing.T) {
	cache := os.Getenv(cacheEnv)
	if cache == "" {
		t.Skip("run by TestImageBuildKilled")
	}
	d := New(Options{Dir: t.TempDir(), CacheDir: cache})
	err := d.EnsureImage(t.Context(), "", func(p vm.Phase) {
		if p.Name == "installing packages" && p.Done > 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	t.Errorf("the build ended: %v", err)
}

func onlyLocks(t *testing.T, d *Driver) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(d.opts.CacheDir, "images", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if !strings.HasSuffix(name, ".lock") {
			t.Errorf("%s is left", name)
		}
	}
}

// Without its tools a build fails at once, with what to install; what a crash left is removed first.
func TestImageBuildWithoutTools(t *testing.T) {
	d := New(Options{Dir: t.TempDir(), CacheDir: t.TempDir()})
	r, err := recipeFor(ImageName)
	if err != nil {
		t.Fatal(err)
	}
	b := builder{recipe: r, dir: t.TempDir(), root: os.Geteuid() == 0}
	t.Setenv("PATH", t.TempDir())
	if _, err := lookTool("mmdebstrap"); err != nil {
		if _, err := b.build(t.Context()); !strings.Contains(hint.Of(err), "apt-get install mmdebstrap") {
			t.Errorf("%v (%s)", err, hint.Of(err))
		}
	}
	if left := d.imageDir(r) + ".building-1"; os.MkdirAll(filepath.Join(left, "rootfs"), 0o755) != nil {
		t.Fatal("cannot make", left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Ended just before the first tool would be started.
	err = d.buildImage(ctx, recipe{image: ImageName}, d.imageDir(r), nil, func(vm.Phase) { cancel() })
	if err == nil {
		t.Error("an image was built without packages")
	}
	onlyLocks(t, d)
}

func TestImageNames(t *testing.T) {
	d := New(Options{Dir: t.TempDir(), CacheDir: t.TempDir()})
	if err := d.EnsureImage(t.Context(), "windows", nil); !errors.Is(err, vm.ErrNoImage) {
		t.Errorf("%v", err)
	}
	if ready, err := d.ImageReady(t.Context(), ""); ready || err != nil {
		t.Errorf("an empty cache has the image: %v, %v", ready, err)
	}
	if got := New(Options{Stock: true}).DefaultImage(); got != StockImageName {
		t.Errorf("the stock driver's image is %q", got)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("CAL_CACHE", "/somewhere")
	if got := New(Options{}).opts.CacheDir; got != "/somewhere" {
		t.Errorf("%q", got)
	}
	t.Setenv("CAL_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/cache")
	if got := New(Options{}).opts.CacheDir; got != "/cache/calmenu" {
		t.Errorf("%q", got)
	}
}
