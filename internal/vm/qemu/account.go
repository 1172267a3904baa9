package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// accountName is the system account QEMU and the tools that read its files run as when CALMenu runs as root.
const accountName = "calmenu-vm"

// account is whom machines run as.
type account struct {
	drop     bool // CALMenu is root: change to uid and gid
	uid, gid int
}

// vmAccount returns the account machines run as, creating the system account if CALMenu is root and it is missing.
func vmAccount(ctx context.Context) (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Getuid(), gid: os.Getgid()}, nil
	}
	u, err := user.Lookup(accountName)
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		out, addErr := exec.CommandContext(ctx, "useradd", "--system", "--user-group", "--no-create-home",
			"--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", accountName).CombinedOutput()
		if u, err = user.Lookup(accountName); err != nil && addErr != nil {
			err = fmt.Errorf("%w: %s", addErr, lastLine(out))
		}
	}
	if err != nil {
		return account{}, hint.Wrap(fmt.Errorf("finding the account %s that virtual machines run as: %w", accountName, err),
			"Create it: `useradd --system "+accountName+"`, or do not run CALMenu as root.")
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return account{}, fmt.Errorf("reading the account %s: %w", accountName, err)
	}
	return account{drop: true, uid: uid, gid: gid}, nil
}

// argv returns the command line that runs argv as the account, able to become nobody else. groups are extra groups.
func (a account) argv(argv []string, groups ...int) []string {
	if !a.drop {
		return argv
	}
	wrapped := []string{"setpriv", "--reuid=" + strconv.Itoa(a.uid), "--regid=" + strconv.Itoa(a.gid)}
	if len(groups) == 0 {
		wrapped = append(wrapped, "--clear-groups")
	} else {
		wrapped = append(wrapped, "--groups="+strconv.Itoa(groups[0]))
	}
	wrapped = append(wrapped, "--inh-caps=-all", "--no-new-privs", "--")
	return append(wrapped, argv...)
}

// own gives paths to the account.
func (a account) own(paths ...string) error {
	if !a.drop {
		return nil
	}
	for _, p := range paths {
		if err := os.Lchown(p, a.uid, a.gid); err != nil {
			return err
		}
	}
	return nil
}

// command prepares a tool that runs as the account in dir. All file names given to it are relative to dir, so that the
// account needs no permission on what is above.
func (a account) command(ctx context.Context, dir string, argv ...string) *exec.Cmd {
	argv = a.argv(argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = toolEnv(os.Environ())
	return cmd
}

// run runs a tool to its end; what it printed becomes part of its error.
func (a account) run(ctx context.Context, dir string, argv ...string) ([]byte, error) {
	cmd := a.command(ctx, dir, argv...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return out, hint.Wrap(fmt.Errorf("running %s: %w", argv[0], err), packageHint(filepath.Base(argv[0])))
	}
	err = fmt.Errorf("running %s %s: %w: %s", argv[0], subcommand(argv), err, lastLine(out))
	if bytes.Contains(out, []byte("No space left on device")) {
		err = fmt.Errorf("%w: %w", vm.ErrNoSpace, err)
	}
	return out, err
}

func subcommand(argv []string) string {
	if len(argv) > 1 {
		return argv[1]
	}
	return ""
}

// toolEnv is the environment of tools: a path to find them, and messages in English, which this package reads.
func toolEnv(environ []string) []string {
	env := []string{"LC_ALL=C.UTF-8", "HOME=/nonexistent"}
	for _, kv := range environ {
		if len(kv) > 5 && kv[:5] == "PATH=" {
			kv += ":/usr/local/sbin:/usr/sbin:/sbin"
			env = append(env, kv)
		}
	}
	return env
}
