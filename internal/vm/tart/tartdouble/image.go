package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// isRemote tells remote names from local ones as tart's grammar does: a host, a slash, a namespace.
func isRemote(name string) bool { return strings.Contains(name, "/") }

// split takes a remote name apart; the default tag is "latest".
func split(name string) (repo, tag string) {
	if repo, digest, ok := strings.Cut(name, "@"); ok {
		return repo, digest
	}
	slash := strings.LastIndex(name, "/")
	if i := strings.LastIndex(name, ":"); i > slash {
		return name[:i], name[i+1:]
	}
	return name, "latest"
}

func (h *home) tagLink(name string) string {
	repo, tag := split(name)
	host, namespace, _ := strings.Cut(repo, "/")
	return h.path("cache", "OCIs", strings.ReplaceAll(host, ":", "%3A"), namespace, tag)
}

// cached is the directory of a cached image, whether or not it is there.
func (h *home) cached(name string) string {
	if dir, err := filepath.EvalSymlinks(h.tagLink(name)); err == nil {
		return dir
	}
	return h.tagLink(name)
}

// pull downloads an image (rows 16, 66 and 67).
func pull(ctx context.Context, h *home, a *arguments) error {
	name := a.positionals[0]
	if !isRemote(name) {
		if !exists(h.path("vms", name)) {
			return failA(1, "failed to parse remote name: expected a host (character 1)")
		}
		fmt.Printf("\"%s\" is a local image, nothing to pull here!\n", name)
		return nil
	}
	return h.pullImage(ctx, name)
}

func (h *home) pullImage(ctx context.Context, name string) error {
	fmt.Printf("pulling %s...\n", name)
	repo, tag := split(name)
	host, _, _ := strings.Cut(repo, "/")
	hostDir := h.path("cache", "OCIs", strings.ReplaceAll(host, ":", "%3A"))
	if err := os.MkdirAll(hostDir, 0o755); err != nil {
		return err
	}
	lock, err := lockDir(hostDir, false)
	if err != nil {
		fmt.Println("waiting for lock...")
		if lock, err = lockDir(hostDir, true); err != nil {
			return err
		}
	}
	defer lock.Close()
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(repo+":"+tag)))
	final := filepath.Join(filepath.Dir(h.tagLink(name)), digest)
	fmt.Println("pulling manifest...")
	if h.script.RegistryDown {
		return failC("The Internet connection appears to be offline.")
	}
	img, ok := h.script.Registry[repo+":"+tag]
	if !ok {
		return failC(`UnexpectedHTTPStatusCode(when: "pulling manifest", code: 404, details: "not found")`)
	}
	if (machine{dir: final}).complete() {
		fmt.Printf("%s@%s image is already cached and linked!\n", repo, digest)
		return nil
	}
	return h.download(ctx, img, final, h.tagLink(name))
}

func (h *home) download(ctx context.Context, img image, final, link string) error {
	// The directory of a download has the same name every time: one that was killed, or failed, is gone on with.
	dir := h.path("tmp", filepath.Base(final))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := lockDir(dir, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := fetch(ctx, img, dir); err != nil {
		return err
	}
	fmt.Println("pulling NVRAM...")
	guestOS := img.OS
	if guestOS == "" {
		guestOS = "darwin"
	}
	if img.DiskGB == 0 {
		img.DiskGB = 50
	}
	if err := writeBundle(dir, newConfig(guestOS), img.DiskGB); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	if err := os.Rename(dir, final); err != nil {
		return err
	}
	if err := removeIfThere(link); err != nil {
		return err
	}
	return os.Symlink(final, link)
}

// fetch downloads the disk's layers, of which each is kept.
func fetch(ctx context.Context, img image, dir string) error {
	fmt.Println("pulling disk (16.0 GB compressed)...")
	have := filepath.Join(dir, "double-layers")
	layers, _ := os.ReadFile(have)
	for {
		percent := 25 * len(layers)
		progress(percent)
		if percent == 100 {
			return removeIfThere(have)
		}
		if percent == 50 && img.Fails != "" {
			return failC("%s", img.Fails)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), os.RemoveAll(dir)) // a SIGINT takes what there is of it
		case <-time.After(seconds(img.StepTime)):
		}
		layers = append(layers, '.')
		if err := os.WriteFile(have, layers, 0o600); err != nil {
			return err
		}
	}
}

// progress redraws its line with cursor codes, terminal or not, unless CI is set (row 67).
func progress(percent int) {
	if _, ci := os.LookupEnv("CI"); ci || percent == 0 {
		fmt.Printf("%d%%\n", percent)
		return
	}
	fmt.Printf("\x1b[1A\r\x1b[J%d%%\n", percent)
}

// prune refuses without a criterion (row 68); with one it clears the cache.
func prune(_ context.Context, h *home, a *arguments) error {
	if _, err := a.choice("--entries", "caches", "vms"); err != nil {
		return err
	}
	if !a.has("--older-than") && !a.has("--space-budget") {
		return failUsage("prune", "at least one pruning criteria must be specified")
	}
	if a.last("--entries", "caches") == "vms" {
		return failA(1, "the double does not delete machines it was not told by name")
	}
	return os.RemoveAll(h.path("cache", "OCIs"))
}
