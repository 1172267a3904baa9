package tally

import "strings"

// Folders of the home that hold what can be had again, and files that CALMenu writes there at every start.
var homeCaches = []string{
	".cache", ".npm", ".cargo/registry", ".cargo/git", "go/pkg/mod", ".gradle", ".m2/repository", ".pub-cache", ".nuget",
	".local/share/pnpm/store", ".local/share/Trash", ".Trash", ".bun/install/cache", ".yarn/berry", ".conda/pkgs",
	"Library/Caches", "Library/Logs", ".ssh/authorized_keys", ".cal-vm-info",
}

// cachedFirst are the letters with which homeCaches begin.
const cachedFirst = ".gL"

// Folders outside of the home that programs write to whatever the agent does, and files that CALMenu writes there at
// every start. macOS's /var and /etc lie in /private.
var systemCaches = []string{
	"/var/log", "/var/cache", "/var/tmp", "/tmp", "/var/lib/apt", "/var/lib/systemd", "/var/lib/dhcp", "/var/spool",
	"/var/backups", "/var/lib/logrotate", "/var/lib/sudo", "/var/lib/private", "/var/db", "/var/folders", "/var/vm",
	"/Library/Caches", "/Library/Logs", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/ssh/ssh_host_ed25519_key",
	"/etc/ssh/ssh_host_ed25519_key.pub", "/etc/ld.so.cache", "/etc/.pwd.lock",
}

func cached(file string) bool {
	// Most names are none of them by their first letter already; there may be hundreds of thousands to look at.
	if file == "" || strings.IndexByte(cachedFirst, file[0]) < 0 {
		return false
	}
	return below(file, homeCaches)
}

func cachedInSystem(file string) bool {
	return below(strings.TrimPrefix(file, "/private"), systemCaches)
}

// below tells whether a file is one of a list, or in one of its folders.
func below(file string, list []string) bool {
	for _, dir := range list {
		if rest, ok := strings.CutPrefix(file, dir); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// Folder is a folder of a home.
type Folder struct {
	name  string // from the home, with a slash at its end; empty for the home itself
	plain bool   // what is in it is neither cached nor of a repository, but for special names
}

// FolderOf returns a folder of the home by its name, which ends with a slash; that of the home itself is empty.
func FolderOf(name string) Folder {
	plain := name != "" && strings.IndexByte(cachedFirst, name[0]) < 0
	for _, mark := range []string{".git", "refs/heads/", "reftable/"} {
		plain = plain && !strings.Contains(name, mark)
	}
	return Folder{name: name, plain: plain}
}

// special tells whether a name in a plain folder may be a repository's: .git, HEAD, packed-refs, and some that are none.
func special(name []byte) bool {
	if len(name) < len(".git") {
		return false
	}
	switch string(name[len(name)-4:]) {
	case ".git", "HEAD", "refs":
		return true
	}
	return false
}

// inRepository tells whether a file lies in a git directory, going by its name: .git, or as bare ones are called.
func inRepository(file string) bool {
	return strings.HasSuffix(file, ".git") || strings.Contains(file, ".git/")
}

// gitDirOf names the git directory (from the home, beginning with "./") in which a commit was made if this file in it
// changed: each commit writes one of the files looked for. It may be no git directory after all.
func gitDirOf(file string) (string, bool) {
	if !strings.Contains(file, ".git/") && !strings.Contains(file, "/refs/heads/") &&
		!strings.Contains(file, "/reftable/") && !strings.HasSuffix(file, "/HEAD") &&
		!strings.HasSuffix(file, "/packed-refs") {
		return "", false
	}
	file = "/" + file
	dir, rest := "", file
	if i := strings.Index(file+"/", "/.git/"); i >= 0 {
		// Of a submodule it is .git/modules/NAME.
		dir, rest = file[:i+len("/.git")], file[i+len("/.git"):]
		if i := strings.Index(rest, "/logs/"); i >= 0 {
			rest = rest[:i] + "/HEAD"
		}
	}
	ok := false
	for _, mark := range []string{"/refs/heads/", "/reftable/"} {
		if i := strings.Index(rest, mark); i >= 0 && !ok {
			rest, ok = rest[:i], true
		}
	}
	for _, name := range []string{"/HEAD", "/packed-refs"} {
		if r, found := strings.CutSuffix(rest, name); found && !ok {
			rest, ok = r, true
		}
	}
	// A linked work tree's lies in that of its repository.
	if i := strings.LastIndex(rest, "/worktrees/"); i > 0 || i == 0 && dir != "" {
		rest = rest[:i]
	}
	if dir += rest; !ok || dir == "" {
		return "", false
	}
	return "." + dir, true
}
