package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/resources"
)

const (
	suite = "bookworm"
	// recipeVersion changes when this package builds images differently from the same files.
	recipeVersion = "2"
	// imageGiB is the size of the image's file system: room for the packages. A machine's disk is larger, and calinit
	// grows the file system to it at first boot (one ioctl), which is quicker than carrying a large file system's tables.
	imageGiB = 4
)

// Documentation, manuals and translations are of no use to a program in the guest, and a fifth of its size.
var pathFilters = []string{
	"path-exclude=/usr/share/man/*",
	"path-exclude=/usr/share/locale/*",
	"path-exclude=/usr/share/info/*",
	"path-exclude=/usr/share/lintian/*",
	"path-exclude=/usr/share/doc/*",
	"path-include=/usr/share/doc/*/copyright",
}

// recipe is all that decides what an image contains.
type recipe struct {
	image    string
	packages []string
	// hooks are shell scripts run on the root file system; "copy-out" stands for taking the kernel and modules out.
	hooks []string
	stock bool
}

// copyOut is the place among a recipe's hooks at which what export.sh prepared is taken out of the root file system.
const copyOut = "copy-out"

// commandsHook is given the directory it puts files into, as in the guest's setup, and not the root file system.
const commandsHook = "proxy-commands.sh"

func recipeFor(image string) (recipe, error) {
	r := recipe{image: image, stock: image == StockImageName}
	lists := []string{"packages.txt"}
	hooks := []string{"customize.sh", commandsHook, "export.sh", copyOut, "trim.sh", "clean.sh"}
	if r.stock {
		lists = append(lists, "packages-stock.txt")
		hooks = []string{"customize.sh", "stock.sh", "export.sh", copyOut, "clean.sh"}
	}
	for _, name := range lists {
		text, err := resources.Guest(name)
		if err != nil {
			return recipe{}, fmt.Errorf("reading the guest's recipe: %w", err)
		}
		r.packages = append(r.packages, words(string(text))...)
	}
	for _, name := range hooks {
		if name == copyOut {
			r.hooks = append(r.hooks, copyOut)
			continue
		}
		text, err := resources.Guest(name)
		if err != nil {
			return recipe{}, fmt.Errorf("reading the guest's recipe: %w", err)
		}
		hook := string(text)
		if name == commandsHook {
			hook = `set -- "$1/home/admin/.local/bin"` + "\n" + hook + `chown 1000:1000 "$1"/proxy-*` + "\n"
		}
		r.hooks = append(r.hooks, hook)
	}
	return r, nil
}

// words returns the lines of a list without comments and blanks.
func words(list string) []string {
	var all []string
	for line := range strings.Lines(list) {
		line, _, _ = strings.Cut(line, "#")
		all = append(all, strings.Fields(line)...)
	}
	return all
}

// hash names the image in the cache: the same recipe is the same image. Where packages come from is no part of it.
func (r recipe) hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00%s\x00", recipeVersion, suite, imageGiB, r.image)
	for _, part := range [][]string{r.packages, r.hooks, pathFilters} {
		fmt.Fprintf(h, "%d\x00", len(part))
		for _, s := range part {
			fmt.Fprintf(h, "%d\x00%s", len(s), s)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// imageName checks the name a caller gave; empty is the default.
func (d *Driver) imageName(image string) (string, error) {
	switch image {
	case "":
		return d.DefaultImage(), nil
	case ImageName, StockImageName:
		return image, nil
	}
	return "", fmt.Errorf("finding image %q: this driver builds %s only: %w", image, ImageName, vm.ErrNoImage)
}

// DefaultImage names the image used when a workspace names none.
func (d *Driver) DefaultImage() string {
	if d.opts.Stock {
		return StockImageName
	}
	return ImageName
}
