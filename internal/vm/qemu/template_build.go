package qemu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/seedfs"
	"github.com/calmenu/calmenu/resources"
)

const (
	// halfMade is what follows the key in the name of a template that is being made, or removed.
	halfMade = ".making-"
	// templateBootLimit bounds the boot of a template's guest.
	templateBootLimit = 5 * time.Minute
	// seedLimit bounds how long a guest may take to take its seed: a tenth of a second where nothing else runs.
	seedLimit = 30 * time.Second
)

// Where calseed and what makes it stand before the SSH server lie in a template's guest: in memory, so that nothing of
// it is on the disk when that is booted.
const (
	seederPath   = "/run/calmenu/calseed"
	seederDropIn = "/run/systemd/system/calmenu-ssh.service.d/10-calseed.conf"
	seederUnit   = "[Service]\nExecStart=\nExecStart=" + seederPath + " /usr/sbin/sshd -D -e -r\n"
)

// buildTemplate boots a machine, saves it and makes the template from its files. The caller holds the lock.
func (d *Driver) buildTemplate(ctx context.Context, key string, r recipe, s vm.Spec, p vm.Progress) (err error) {
	work, err := os.MkdirTemp(d.templates(), key+halfMade)
	if err != nil {
		return err
	}
	maker := d.templateMaker(work)
	defer func() {
		// The clean-up must happen also, and above all, when ctx has ended.
		if endErr := maker.removeMaker(context.WithoutCancel(ctx), work); endErr != nil && err == nil {
			err = endErr
		}
	}()
	s.Name = templateMachine
	if err := maker.create(ctx, s, r); err != nil {
		return err
	}
	if err := maker.bootTemplate(ctx, p); err != nil {
		return err
	}
	if err := d.fault("template:booted"); err != nil {
		return err
	}
	if err := maker.Suspend(ctx, templateMachine, p); err != nil {
		return err
	}
	if err := d.fault("template:saved"); err != nil {
		return err
	}
	result := filepath.Join(work, "result")
	if err := maker.harvest(ctx, result); err != nil {
		return err
	}
	if err := d.fault("template:harvested"); err != nil {
		return err
	}
	dir := filepath.Join(d.templates(), key)
	// What is there is none: it would have been found.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(result, dir); err != nil {
		return err
	}
	return syncDir(d.templates())
}

// templateMaker is the driver of the one machine in a directory in which a template is made.
func (d *Driver) templateMaker(work string) *Driver {
	maker := *d
	maker.opts.Dir, maker.opts.NoTemplates = work, true
	return &maker
}

// removeMaker ends the machine a template is or was made by, and removes its directory.
func (d *Driver) removeMaker(ctx context.Context, work string) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	p, err := findProcess(ctx, d.machineDir(templateMachine))
	if err == nil && p.pid != 0 {
		err = d.powerOff(ctx, templateMachine, p.pid)
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(work)
}

// bootTemplate starts the machine and waits until its guest has come to where it waits for a seed.
func (d *Driver) bootTemplate(ctx context.Context, p vm.Progress) error {
	m, unlock, err := d.open(ctx, templateMachine, "template")
	if err != nil {
		return err
	}
	// Room for the seed, behind the file system.
	grow := "+" + strconv.Itoa(seedfs.Area)
	_, err = m.acc.run(ctx, m.dir, "qemu-img", "resize", "-q", "-f", "qcow2", layerFile(m.Disk.Active), grow)
	unlock()
	if err != nil {
		return fmt.Errorf("making room for the seed: %w", err)
	}
	calseed, err := resources.CalSeed()
	if err != nil {
		return err
	}
	files := []vm.SeedFile{
		{Path: seederPath, Mode: 0o755, Data: calseed},
		{Path: seederDropIn, Mode: 0o644, Data: []byte(seederUnit)},
		// Of no machine that is made from it: each brings its own.
		{Path: "/etc/hostname", Mode: 0o644, Data: []byte("vm\n")},
	}
	files = append(files, d.common()...)
	if err := d.Start(ctx, templateMachine, vm.StartOptions{Files: files}, p); err != nil {
		return err
	}
	p.Report(vm.Phase{Name: "waiting for the template's guest"})
	ctx, cancel := context.WithTimeoutCause(ctx, templateBootLimit, errors.New("its guest takes too long to boot"))
	defer cancel()
	return awaitSaid(ctx, m.dir, seedfs.Ready)
}

// awaitSaid waits until calseed says what on the console of the machine in dir, or that it failed, or the machine ends.
func awaitSaid(ctx context.Context, dir, what string) error {
	for look := 0; ; look++ {
		said, err := seederSaid(dir)
		if err != nil {
			return err
		}
		for _, line := range said {
			if line == what {
				return nil
			}
			if reason, failed := strings.CutPrefix(line, seedfs.Failed); failed {
				return fmt.Errorf("its guest could not be given an identity: %s", reason)
			}
		}
		if look%100 == 99 { // every second or so
			if p, err := findProcess(ctx, dir); err != nil || p.pid == 0 {
				return errors.Join(errors.New("its guest has ended"), err)
			}
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			return context.Cause(ctx)
		}
	}
}

// seederSaid returns the lines calseed has said: the first of what is on the console, which is the guest's to fill.
func seederSaid(dir string) ([]string, error) {
	f, err := openRegular(filepath.Join(dir, runDir, serialFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, consoleLimit))
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range bytes.Lines(text) {
		said, ok := bytes.CutPrefix(line, []byte(seedfs.Says))
		if ok && bytes.HasSuffix(said, []byte("\n")) {
			all = append(all, string(bytes.TrimSpace(said[:min(len(said), 200)])))
		}
	}
	return all, nil
}

// harvest takes what a template is from the suspended machine.
func (d *Driver) harvest(ctx context.Context, result string) error {
	m, unlock, err := d.open(ctx, templateMachine, "template")
	if err != nil {
		return err
	}
	defer unlock()
	id := m.Disk.Layers[m.Disk.Active].Memory
	saved, err := m.readMemory(id)
	if err != nil {
		return fmt.Errorf("reading what was saved: %w", err)
	}
	if err := os.Mkdir(result, 0o755); err != nil {
		return err
	}
	disk := filepath.Join(result, templateDisk)
	if err := os.Rename(filepath.Join(m.dir, layerFile(m.Disk.Active)), disk); err != nil {
		return err
	}
	// It is CALMenu's from here on, as the base is: no QEMU may change what other machines stand on.
	if err := errors.Join(os.Lchown(disk, os.Geteuid(), os.Getegid()), os.Chmod(disk, 0o444)); err != nil {
		return err
	}
	for _, name := range []string{ramFile, stateFile} {
		if err := os.Rename(m.memoryPath(id, name), filepath.Join(result, name)); err != nil {
			return err
		}
	}
	saved.Synced = true // before anybody sees it
	t := template{Image: m.Image, Created: time.Now().UTC(), NoKVM: m.NoKVM, Files: prints(d.common())}
	for name, value := range map[string]any{memoryFile: saved, templateFile: t} {
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		if err := atomicfile.Write(filepath.Join(result, name), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return syncFiles(result)
}

// removeHalfMade removes what a crash left of making a template. The caller holds its lock.
func (d *Driver) removeHalfMade(ctx context.Context, key string) error {
	left, err := filepath.Glob(filepath.Join(d.templates(), key+halfMade+"*"))
	if err != nil {
		return err
	}
	for _, work := range left {
		if err := d.templateMaker(work).removeMaker(ctx, work); err != nil {
			return fmt.Errorf("removing a half-made one: %w", err)
		}
	}
	return nil
}

// sweepHalfMade does it for templates nobody may want again. One that is being made is locked.
func (d *Driver) sweepHalfMade(ctx context.Context) {
	left, err := filepath.Glob(filepath.Join(d.templates(), "*"+halfMade+"*"))
	if err != nil {
		return
	}
	for _, work := range left {
		key, _, _ := strings.Cut(filepath.Base(work), halfMade)
		l := flock.New(filepath.Join(d.templates(), key+".lock"))
		if locked, err := l.TryLock(); err == nil && locked {
			_ = d.removeHalfMade(ctx, key)
		}
		_ = l.Close()
	}
}
