package tart

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/vm"
)

// DefaultImage implements vm.Images.
func (d *Driver) DefaultImage() string { return DefaultImage }

// imagePattern is a local machine's name or HOST/NAMESPACE[:TAG][@DIGEST]; above all, it is no option.
var imagePattern = lazyre.New(`^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,254}$`)

func checkImage(image string) error {
	if !imagePattern.MatchString(image) || strings.Contains(image, "..") {
		return hint.Errorf("An image is named like "+DefaultImage+".", "%q is not an image's name", image)
	}
	return nil
}

// imageDir is where Tart keeps an image: a machine's directory, or a link to one in its cache (section 2).
func (d *Driver) imageDir(image string) string {
	host, rest, remote := strings.Cut(image, "/")
	if !remote {
		return d.dir(image)
	}
	repo, tag, ok := strings.Cut(rest, "@")
	if !ok {
		repo, tag = rest, "latest"
		if i := strings.LastIndexAny(rest, ":/"); i >= 0 && rest[i] == ':' {
			repo, tag = rest[:i], rest[i+1:]
		}
	}
	return filepath.Join(d.home, "cache", "OCIs", strings.ReplaceAll(host, ":", "%3A"), repo, tag)
}

// ImageReady implements vm.Images. It looks at the files, since any command but pull and clone deletes what an
// interrupted pull could resume from (section 2).
func (d *Driver) ImageReady(ctx context.Context, image string) (bool, error) {
	if err := checkImage(image); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	for _, f := range []string{"config.json", "nvram.bin"} {
		_, err := os.Stat(filepath.Join(d.imageDir(image), f))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("looking for image %q: %w", image, err)
		}
	}
	return true, nil
}

// EnsureImage implements vm.Images by `tart pull`. One that is cut short by its context, a lost network or a crash
// resumes at the next call: an image is there only when it is whole, and what there is of one is left alone until then.
func (d *Driver) EnsureImage(ctx context.Context, image string, p vm.Progress) error {
	if ready, err := d.ImageReady(ctx, image); ready || err != nil {
		return err
	}
	if !strings.Contains(image, "/") {
		return fmt.Errorf("%w: there is no virtual machine %q", vm.ErrNoImage, image)
	}
	// Tart has its own lock, but waits without a word that can be told from a hang.
	p.Report(vm.Phase{Name: "waiting for another download"})
	unlock, err := lockFile(ctx, filepath.Join(d.options.StateDir, "pull.lock"))
	if err != nil {
		return fmt.Errorf("downloading image %q: %w", image, err)
	}
	defer unlock()
	if ready, err := d.ImageReady(ctx, image); ready || err != nil {
		return err
	}
	if err := d.checkVersion(ctx); err != nil {
		return err
	}
	mark := filepath.Join(d.options.StateDir, partial)
	if err := os.WriteFile(mark, []byte(image+"\n"), 0o600); err != nil {
		return fmt.Errorf("downloading image %q: %w", image, err)
	}
	if err := d.pull(ctx, image, p); err != nil {
		return fmt.Errorf("downloading image %q: %w", image, err)
	}
	return removeIfThere(mark)
}

func (d *Driver) pull(ctx context.Context, image string, p vm.Progress) error {
	cmd := d.command(ctx, "pull", image)
	errOut := limitedBuffer{limit: 64 << 10}
	cmd.Stderr = &errOut
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return asCLIError("pull", err, "")
	}
	var state pullState
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 4<<10), 64<<10)
	for lines.Scan() {
		if ph, ok := state.read(lines.Text()); ok {
			p.Report(ph)
		}
	}
	err = errors.Join(lines.Err(), cmd.Wait())
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return explain(asCLIError("pull", err, errOut.String()))
}

// pullState follows the lines `tart pull` prints (section 10).
type pullState struct {
	total int64 // compressed bytes of the disk; 0 before they are known
}

var (
	ansiPattern    = lazyre.New(`\x1b\[[0-9;]*[A-Za-z]`)
	percentPattern = lazyre.New(`^(\d{1,3})%$`)
	diskPattern    = lazyre.New(`^pulling disk \((\d{1,6}(?:\.\d{1,3})?) GB compressed\)\.\.\.$`)
)

// read returns what a line says about the download, if anything.
func (s *pullState) read(line string) (vm.Phase, bool) {
	line = strings.TrimSpace(ansiPattern.ReplaceAllString(line, ""))
	if m := diskPattern.FindStringSubmatch(line); m != nil {
		gb, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return vm.Phase{}, false
		}
		s.total = int64(gb * 1e9)
		return vm.Phase{Name: "downloading image", Total: s.total}, true
	}
	if m := percentPattern.FindStringSubmatch(line); m != nil && s.total > 0 {
		percent, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || percent > 100 {
			return vm.Phase{}, false
		}
		return vm.Phase{Name: "downloading image", Done: s.total / 100 * percent, Total: s.total}, true
	}
	switch line {
	case "pulling manifest...":
		return vm.Phase{Name: "asking the registry"}, true
	case "pulling NVRAM...":
		return vm.Phase{Name: "finishing download"}, true
	case "waiting for lock...":
		return vm.Phase{Name: "waiting for another download"}, true
	}
	return vm.Phase{}, false
}
