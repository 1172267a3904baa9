package qemu

import "strings"

// The guest's outbox as a folder of the host: virtiofs, of which QEMU has the device and virtiofsd, a program of its own,
// serves the files.
const (
	virtiofsd   = "/usr/lib/qemu/virtiofsd" // Debian 12: qemu-system-common
	shareSocket = "share.sock"
	shareID     = "share"
	shareLog    = "share.log"
)

// servedByDaemon tells whether a share of a command line, as readExposure has it, names no folder but the device that a
// daemon serves.
func servedByDaemon(share string) bool { return strings.HasPrefix(share, "vhost-user-fs") }

// sharing is a virtiofsd that serves a machine.
type sharing struct {
	source string
	root   bool
	argv   []string
}

// shareSource finds the folder in virtiofsd's arguments.
func shareSource(argv []string) string {
	for i, arg := range argv {
		if arg != "-o" || i+1 == len(argv) {
			continue
		}
		if source, ok := strings.CutPrefix(argv[i+1], "source="); ok {
			return source
		}
	}
	return ""
}
