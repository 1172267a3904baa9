package qemu

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// hostSources returns the host's own sources of Debian packages for the guest's release, or none if the host is not
// Debian: whatever mirror or proxy works for the host then works for the guest image too.
func hostSources() []aptSource {
	release := osRelease("/etc/os-release")
	if release["ID"] != "debian" {
		return nil
	}
	names := []string{"/etc/apt/sources.list"}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, err := filepath.Glob(filepath.Join("/etc/apt/sources.list.d", pattern))
		if err == nil {
			names = append(names, found...)
		}
	}
	var files []sourceFile
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil {
			files = append(files, sourceFile{name, string(text)})
		}
	}
	return debianSources(files, release["VERSION_CODENAME"])
}

// osRelease reads os-release(5).
func osRelease(name string) map[string]string {
	values := map[string]string{}
	text, err := os.ReadFile(name)
	if err != nil {
		return values
	}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values
}

// hostAptSettings returns the settings of the host's apt that reaching its archive depends on; a host without apt has
// none.
func hostAptSettings(ctx context.Context) ([]string, error) {
	path, err := exec.LookPath("apt-config")
	if err != nil {
		return nil, nil
	}
	out, err := exec.CommandContext(ctx, path, "dump").Output()
	if err != nil {
		return nil, fmt.Errorf("reading apt's settings: %w", err)
	}
	return passedSettings(string(out)), nil
}

// subordinateFlags give an account ranges of ids, by usermod.
const subordinateFlags = "--add-subuids 100000-165535 --add-subgids 100000-165535"

// subordinateIDs checks that the caller has ranges of ids for a user namespace.
func subordinateIDs() error {
	u, err := user.Current()
	if err != nil {
		return fmt.Errorf("finding out who runs this: %w", err)
	}
	for _, name := range []string{"/etc/subuid", "/etc/subgid"} {
		if !hasRange(name, u.Username, u.Uid) {
			return hint.Errorf("Give it some: `sudo usermod "+subordinateFlags+" "+u.Username+"`.",
				"building the guest image: %s has no entry for %s, which building without root needs", name, u.Username)
		}
	}
	return nil
}

func hasRange(name, username, uid string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		owner, _, _ := strings.Cut(lines.Text(), ":")
		if owner == username || owner == uid {
			return true
		}
	}
	return false
}

// lookTool finds a program also in the system directories an ordinary account's PATH lacks.
func lookTool(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// debianPackages tells which package a program comes in.
var debianPackages = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs",
	"newuidmap": "uidmap", "newgidmap": "uidmap", "setpriv": "util-linux", "unshare": "util-linux", "useradd": "passwd",
}

func packageHint(tool string) string {
	pkg, ok := debianPackages[tool]
	if !ok {
		pkg = tool
	}
	return "Install it: `sudo apt-get install " + pkg + "`."
}
