// Package helper puts CALMenu's own program (cmd/calhelper) into a guest.
//
// What must hold: a guest gets only the program this binary was built with, whole and under the name of its content, so
// that two versions of CALMenu never start each other's. What the program says once it runs is the guest's word.
package helper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"sync"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/resources"
)

// dir is where helpers lie, below the home of the guest's user.
const dir = ".cache/calmenu"

// Client is the connection a helper is put in over; *guest.Client is one.
type Client interface {
	Output(ctx context.Context, cmd guest.Cmd) (guest.Result, error)
	WriteFile(ctx context.Context, path string, mode os.FileMode, data []byte) error
	GuestOS() string
}

// ErrNone is returned for a guest that no helper was built for.
var ErrNone = errors.New("there is no helper program for this guest")

// checkScript tells whether the file $1 below the home has the hash $2, makes its directory, and removes what other
// versions left there a week ago and longer.
const checkScript = `mkdir -p "${1%/*}" || exit 1
find "${1%/*}" -maxdepth 1 -name 'calhelper-*' -mtime +7 ! -path "$1" -exec rm -f {} + 2>/dev/null
[ -f "$1" ] || exit 3
sum=$(sha256sum "$1" 2>/dev/null || shasum -a 256 "$1") || exit 3
[ "${sum%% *}" = "$2" ] || exit 3`

const exitMissing = 3

// mu makes callers of one process that need the helper at the same time upload it once.
var mu sync.Mutex

// Ensure puts the helper into the guest unless it is there, and returns its name, relative to the home of the guest's
// user, which is where commands start. The directory must be one programs may be run from; where it is not, the first
// run fails like that of any missing program. ErrNone if there is no helper for the guest's system.
func Ensure(ctx context.Context, c Client) (string, error) {
	program, hash, err := forGuest(c.GuestOS())
	if err != nil {
		return "", err
	}
	name := nameOf(hash)
	mu.Lock()
	defer mu.Unlock()
	there, err := present(ctx, c, name, hash)
	if err != nil || there {
		return name, err
	}
	if err := c.WriteFile(ctx, name, 0o755, program); err != nil {
		return "", fmt.Errorf("putting the helper program into the guest: %w", err)
	}
	if there, err = present(ctx, c, name, hash); err != nil {
		return "", err
	}
	if !there {
		return "", hint.Errorf("Is the guest's disk full or its home read-only?",
			"putting the helper program into the guest: it is not there as it was sent")
	}
	return name, nil
}

// Name is the name the helper has in a guest of an operating system once it is there. To start it without Ensure saves
// the time that takes to look; whoever does so has to be ready to find nothing.
func Name(guestOS string) (string, error) {
	_, hash, err := forGuest(guestOS)
	if err != nil {
		return "", err
	}
	return nameOf(hash), nil
}

// SeedFiles are the helper and its directories, for who can put files into a guest of an operating system before it starts:
// it need not be sent then. home is that of the guest's user, whose number is uid. None if there is no helper.
func SeedFiles(guestOS, home string, uid int) []vm.SeedFile {
	program, hash, err := forGuest(guestOS)
	if err != nil {
		return nil
	}
	name := path.Join(home, nameOf(hash))
	folder := func(name string) vm.SeedFile {
		return vm.SeedFile{Path: name, Mode: os.ModeDir | 0o755, UID: uid, GID: uid}
	}
	return []vm.SeedFile{
		folder(path.Dir(path.Dir(name))), folder(path.Dir(name)),
		{Path: name, Mode: 0o755, UID: uid, GID: uid, Data: program},
	}
}

// own is a helper and its hash.
type own struct {
	program []byte
	hash    string
	err     error
}

// owns are the helpers by operating system: each is read and hashed once.
var owns sync.Map // string: func() own

func forGuest(guestOS string) (program []byte, hash string, err error) {
	read, _ := owns.LoadOrStore(guestOS, sync.OnceValue(func() own {
		program, err := resources.CalHelper(guestOS)
		if err != nil {
			return own{err: fmt.Errorf("%w: %w", ErrNone, err)}
		}
		sum := sha256.Sum256(program)
		return own{program: program, hash: hex.EncodeToString(sum[:])}
	}))
	o := read.(func() own)()
	return o.program, o.hash, o.err
}

func nameOf(hash string) string { return path.Join(dir, "calhelper-"+hash[:16]) }

func present(ctx context.Context, c Client, name, hash string) (bool, error) {
	r, err := c.Output(ctx, guest.Cmd{
		Argv: []string{"/bin/sh", "-c", checkScript, "sh", name, hash}, Limit: 4 << 10,
	})
	switch {
	case err != nil:
		return false, fmt.Errorf("looking for the helper program in the guest: %w", err)
	case r.Exit == exitMissing:
		return false, nil
	case r.Exit != 0:
		return false, fmt.Errorf("looking for the helper program in the guest: its directory cannot be made (exit status %d)", r.Exit)
	}
	return true, nil
}
