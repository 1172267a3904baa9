// Command calseed stands where a template's SSH server is about to start. It says so on the console, waits for the seed
// that makes a machine of its own of the copy it is in, puts that in force and becomes the SSH server.
//
// What must hold: until the seed is in force nothing in the guest has made a key or a random number that another copy
// of the template would make too, and the guest's SSH server does not run. Fresh entropy comes before everything else.
// calseed uses the standard library alone, and leaves nothing on the disk: it lives in /run.
//
// It is given the command it becomes: calseed /usr/sbin/sshd -D -e -r.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/calmenu/calmenu/internal/guest/renewal"
	"github.com/calmenu/calmenu/internal/vm/seedfs"
)

const (
	disk = "/dev/vda"
	// pollEvery is how often the disk is looked at. It costs a template, which is suspended at once, nothing.
	pollEvery = 5 * time.Millisecond
	// waitLimit is how long, of the guest's own time, calseed waits for a seed: a template is saved within a second.
	waitLimit = 10 * time.Minute
	// bootLimit bounds the wait for the rest of the boot.
	bootLimit = time.Minute
	machineID = "/etc/machine-id"
	journals  = "/run/log/journal"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: calseed PROGRAM [ARGUMENT...]")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		say(seedfs.Failed+"%v", err)
		os.Exit(1)
	}
}

// say writes a line on the console, which the host reads.
func say(format string, args ...any) {
	console, err := os.OpenFile("/dev/console", os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return
	}
	defer console.Close()
	fmt.Fprintf(console, "\n"+seedfs.Says+format+"\n", args...)
}

func run(server []string) error {
	f, err := os.OpenFile(disk, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := seedfs.DiskSize(f)
	if err != nil {
		return err
	}
	if size < 2*seedfs.Area {
		return fmt.Errorf("%s has %d bytes: too small for a template's", disk, size)
	}
	area := int64(size - seedfs.Area)
	warm(server[0])
	syscall.Sync()
	say(seedfs.Ready)
	seed, err := await(f, area)
	if err != nil {
		return err
	}
	if err := apply(seed); err != nil {
		return err
	}
	if err := wipe(f, area); err != nil {
		return err
	}
	if err := stepAside(); err != nil {
		return err
	}
	say(seedfs.Seeded)
	return syscall.Exec(server[0], server, os.Environ())
}

// firstCommands are what a guest that has just been given its identity is soon asked to run: its setup's checks, the look at
// its isolation. They ask for what changes nothing, and talk to nobody but this guest's own loopback.
const firstCommands = `cd; id; date; ip -4 route show default; passwd -S; readlink /etc/localtime; sha256sum /etc/hostname
grep -s x .bashrc; awk '{ print }' /etc/hostname; cat /etc/hostname; mkdir -p .; find . -maxdepth 0
for helper in .cache/calmenu/calhelper-*; do "$helper" version; done
sudo -n true; git config --get user.name; tmux -V
curl --silent --parallel --parallel-immediate --max-time 5 --output /dev/null http://127.0.0.1:9/`

// warm waits until the boot is over, so that a copy has nothing left to do of it, and makes the kernel read what the
// first login and what follows it need. That nothing of it works yet is no matter.
func warm(server string) {
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	for _, argv := range [][]string{
		{"/usr/bin/systemctl", "is-system-running", "--wait"},
		{server, "-t"},
		{"/usr/bin/sudo", "-n", "-u", "admin", "/bin/bash", "-c", firstCommands},
	} {
		_ = exec.CommandContext(ctx, argv[0], argv[1:]...).Run()
	}
}

// await looks at the disk until there is a seed on it.
func await(f *os.File, area int64) (seedfs.Seed, error) {
	block, err := aligned(seedfs.Block)
	if err != nil {
		return seedfs.Seed{}, err
	}
	for began := time.Now(); ; time.Sleep(pollEvery) {
		if time.Since(began) > waitLimit {
			// Whoever was making this template has died, and nobody else knows of this machine.
			syscall.Sync()
			return seedfs.Seed{}, syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
		}
		if _, err := f.ReadAt(block, area); err != nil {
			return seedfs.Seed{}, err
		}
		h, err := seedfs.ParseHeader(block)
		if errors.Is(err, seedfs.ErrEmpty) {
			continue
		}
		if err != nil {
			return seedfs.Seed{}, err
		}
		archive, err := aligned((h.Size + seedfs.Block - 1) &^ (seedfs.Block - 1))
		if err != nil {
			return seedfs.Seed{}, err
		}
		if _, err := f.ReadAt(archive, area+seedfs.Block); err != nil {
			return seedfs.Seed{}, err
		}
		return seedfs.Decode(h, archive[:h.Size])
	}
}

// aligned returns memory that a disk can be read into without a cache.
func aligned(n int) ([]byte, error) {
	return syscall.Mmap(-1, 0, max(n, seedfs.Block), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// apply puts a seed in force: entropy, time, files, names.
func apply(s seedfs.Seed) error {
	if err := renewal.Stir(s.Entropy); err != nil {
		return err
	}
	if err := renewal.SetClock(time.Unix(0, s.Time)); err != nil {
		return err
	}
	before := text(machineID)
	for _, f := range s.Files {
		if err := seedfs.Put("/", f); err != nil {
			return fmt.Errorf("seeding %s: %w", f.Path, err)
		}
	}
	if name := text("/etc/hostname"); name != "" {
		if err := syscall.Sethostname([]byte(name)); err != nil {
			return fmt.Errorf("setting the hostname: %w", err)
		}
	}
	// The journal's readers look below the machine's identifier, its writer below the one there was when it started.
	if after := text(machineID); after != before && before != "" && after != "" {
		if err := os.Rename(filepath.Join(journals, before), filepath.Join(journals, after)); err == nil {
			_ = os.Symlink(after, filepath.Join(journals, before))
		}
	}
	return nil
}

func text(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// wipe takes the seed from the disk.
func wipe(f *os.File, area int64) error {
	const zeroOut = 0x127f // BLKZEROOUT, _IO(0x12, 127)
	span := [2]uint64{uint64(area), seedfs.Area}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), zeroOut, uintptr(unsafe.Pointer(&span))); errno != 0 {
		return fmt.Errorf("wiping the seed: %w", errno)
	}
	return nil
}

// stepAside puts a script in this program's place, which the service manager would start again if the server failed.
func stepAside() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script := "#!/bin/sh\nexec \"$@\"\n"
	beside := self + ".next"
	if err := os.WriteFile(beside, []byte(script), 0o755); err != nil {
		return err
	}
	return os.Rename(beside, self)
}
