package inspect

import (
	"bytes"
	"path"
	"strings"
)

// What opening, or merely having, a file of some name does. The sentences go on from the file's name.
const (
	script     = "is a script"
	terminal   = "runs in Terminal when it is opened"
	apple      = "is an AppleScript or a workflow, which opening runs"
	installer  = "is an installer"
	program    = "is a program"
	java       = "is a Java program, which opening runs"
	launcher   = "is a launcher, which opening runs"
	shortcut   = "is a shortcut, which may lead anywhere"
	profile    = "is a configuration profile, which opening installs"
	plugIn     = "is a plug-in of macOS, which opening installs"
	macros     = "is a document with macros"
	image      = "is a disk image, which was not looked into"
	sealed     = "is an archive of a kind that was not looked into"
	autorun    = "tells Windows what to run"
	direnv     = "runs when a shell with direnv enters its folder"
	tasks      = "holds tasks that an editor may run when its folder is opened"
	repository = "is a Git repository, whose configuration and hooks run when git is used in it"
)

// byExtension says what files of an extension do, in lower case.
var byExtension = func() map[string]string {
	m := map[string]string{}
	for does, extensions := range map[string]string{
		script:    ".sh .bash .zsh .fish .csh .ksh .py .pl .rb .tcl .ps1 .psm1 .bat .cmd .vbs .vbe .jse .wsf .wsh .hta .reg",
		terminal:  ".command .tool .terminal .term",
		apple:     ".scpt .scptd .applescript .workflow .action .osax",
		installer: ".pkg .mpkg .msi .msix .deb .rpm .snap .flatpakref .run",
		program:   ".exe .scr .appimage",
		java:      ".jar .jnlp",
		launcher:  ".desktop .service",
		shortcut:  ".webloc .inetloc .fileloc .url .lnk",
		profile:   ".mobileconfig .configprofile",
		plugIn:    ".prefpane .saver .qlgenerator .mdimporter .kext .dext .component .colorpicker",
		macros:    ".docm .dotm .xlsm .xlam .pptm",
		image:     ".dmg .iso .img .sparseimage .sparsebundle",
		sealed:    ".7z .rar .xz .txz .zst .tzst .lz4 .cab .xar .cpio .aar",
	} {
		for e := range strings.FieldsSeq(extensions) {
			m[e] = does
		}
	}
	return m
}()

// byName says what a name does, or "". It goes by the name alone.
func byName(name string) string {
	lower := strings.ToLower(name)
	switch base := path.Base(lower); {
	case base == ".envrc":
		return direnv
	case base == "autorun.inf":
		return autorun
	case base == ".git":
		return repository
	case strings.HasSuffix("/"+lower, "/.git/config"):
		return repository
	case strings.HasSuffix("/"+lower, "/.vscode/tasks.json"):
		return tasks
	case base == path.Ext(base):
		return "" // a hidden file, not an extension
	}
	return byExtension[path.Ext(strings.TrimRight(lower, " ."))]
}

// byContent says what a file's first bytes make of it, or "".
func byContent(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		return script
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return program + " for Linux"
	case hasMachO(head):
		return program + " for macOS"
	case bytes.HasPrefix(head, []byte("MZ")) && len(head) > 64:
		return program + " for Windows"
	case bytes.HasPrefix(head, []byte("xar!")):
		return installer
	case bytes.HasPrefix(head, []byte("Fas")) && bytes.HasPrefix(head, []byte("FasdUAS")):
		return apple
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")), bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")),
		bytes.HasPrefix(head, []byte("7z\xbc\xaf\x27\x1c")), bytes.HasPrefix(head, []byte("Rar!\x1a\x07")):
		return sealed
	}
	return ""
}

// hasMachO tells whether bytes begin as Mach-O does, for one processor or several. A Java class has the magic number of
// several too; the number of processors, where it has its version, tells them apart.
func hasMachO(head []byte) bool {
	if len(head) < 8 {
		return false
	}
	switch string(head[:4]) {
	case "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe":
		return true
	case "\xca\xfe\xba\xbe", "\xca\xfe\xba\xbf":
		return head[4] == 0 && head[5] == 0 && head[6] == 0 && head[7] < 40
	}
	return false
}

// archiveKind is how an archive is read.
type archiveKind int

const (
	noArchive archiveKind = iota
	zipArchive
	tarArchive
	gzipFile
	bzip2File
)

// archiveOf tells by the first bytes, and for what has none by its name, how an archive is read.
func archiveOf(name string, head []byte) archiveKind {
	lower := strings.ToLower(name)
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return zipArchive
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return gzipFile
	case bytes.HasPrefix(head, []byte("BZh")) && len(head) > 10 && bytes.HasPrefix(head[4:], []byte("1AY&SY")):
		return bzip2File
	case len(head) >= 262 && bytes.HasPrefix(head[257:], []byte("ustar")):
		return tarArchive
	case strings.HasSuffix(lower, ".tar"):
		return tarArchive
	case strings.HasSuffix(lower, ".zip"), strings.HasSuffix(lower, ".ipa"): // something may stand before it
		return zipArchive
	}
	return noArchive
}

// mobile tells whether an archive is an application for another machine than this: what is in it runs there.
func mobile(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".ipa", ".apk", ".aab", ".xapk":
		return true
	}
	return false
}

// escapes tells whether a member's name leads out of where its archive is unpacked, on one system or another.
func escapes(name string) bool {
	slashed := strings.ReplaceAll(name, `\`, "/")
	if strings.HasPrefix(slashed, "/") || len(slashed) > 1 && slashed[1] == ':' {
		return true
	}
	for element := range strings.SplitSeq(slashed, "/") {
		if element == ".." {
			return true
		}
	}
	return false
}

// leads tells whether a link among an archive's members leads out of where it is unpacked.
func leads(name, target string) bool {
	slashed := strings.ReplaceAll(target, `\`, "/")
	if strings.HasPrefix(slashed, "/") || len(slashed) > 1 && slashed[1] == ':' {
		return true
	}
	joined := path.Join(path.Dir(path.Clean("/top/" + name))[1:], slashed)
	return joined != "top" && !strings.HasPrefix(joined, "top/")
}
