package vmtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// rootDir, in the guest's home, stands for its system: scripts that know a sandbox write system files below
// CAL_GUEST_ROOT, and the stand-ins keep there what a machine keeps on its disk. In it, commands is what was asked of
// the programs that only a Mac has, one command a line.
const rootDir = ".root"

// sshdConfig is the file of the guest's /etc/ssh/sshd_config.d that its SSH server obeys.
const sshdConfig = rootDir + "/etc/ssh/sshd_config.d/000-calmenu.conf"

// StandIns names the programs that a sandbox has stand-ins for, in order.
func StandIns() []string {
	return slices.Sorted(maps.Keys(standIns))
}

// onMac begins the stand-ins of programs that only a Mac has: their arguments are written down, as anybody in a guest
// could read them.
const onMac = `mkdir -p "$CAL_GUEST_ROOT"; cd "$CAL_GUEST_ROOT" || exit 1
printf '%s\n' "${0##*/} $*" >>commands
boot=${CAL_GUEST_POWEROFF%/*}
`

// standIns are the programs a guest may run but this host must not.
var standIns = map[string]string{
	// Options of sudo that provisioning uses are dropped, then the command runs as who runs the test; but for the
	// host's own system files, and what would freeze the host: the guest's own fsfreeze, below, is asked then.
	"sudo": `while :; do case "$1" in
-n|-E|-H|-S|-k) shift;; -u|-p) shift 2;; --) shift; break;; *) break;;
esac; done
[ $# -gt 0 ] || exit 0
case "$1" in ln|cp|mv|rm|mkdir|rmdir|chmod|chown|install|touch|sed|sh|bash)
	for a; do case "$a" in /etc/*|/Library/*|/private/etc/*|/var/db/*) echo "sandbox: not here: $*" >&2; exit 97;; esac; done;;
esac
case "$1 $2" in *calhelper-*\ freeze|*calhelper-*\ standby) echo "sandbox: not here: $*" >&2; exit 97;; esac
exec "$@"`,
	"tee": `case "$1" in
/etc/*|/Library/*|/private/*) exec cat >/dev/null;;
"$CAL_GUEST_ROOT"/*) mkdir -p "${1%/*}";;
esac
exec /usr/bin/tee "$@"`,
	"date": `case "$*" in *-s*|"-u "[0-9]*) exit 0;; esac
exec /bin/date "$@"`,
	"poweroff":  `: >"$CAL_GUEST_POWEROFF"`,
	"systemctl": `case "$1" in poweroff|reboot|halt) : >"$CAL_GUEST_POWEROFF";; esac`,
	"fsfreeze":  `exit 0`,
	"apt-get":   `exit 0`,
	"dpkg":      `exit 0`,
	"brew":      onMac,
	"launchctl": onMac,
	"dscl": onMac + `current=$(cat password 2>/dev/null || echo admin)
case "$*" in
". -authonly "*) [ "$4" = "$current" ];;
.) while read -r verb _ old new; do case "$verb" in
	quit) break;;
	passwd) if [ "$old" = "$current" ]; then printf %s "$new" >password; else echo eDSAuthFailed; fi;;
	esac; done;;
esac`,
	"security": onMac + `current=$(cat keychain 2>/dev/null || echo admin)
case "$1" in
-i) while read -r verb _ first second rest; do
	first=$(printf %s "$first" | tr -d '"')
	case "$verb" in
	unlock-keychain) [ "$first" = "$current" ] && : >"$boot/unlocked";;
	set-keychain-password) [ "$first" = "$current" ] && printf %s "${rest%% *}" | tr -d '"' >keychain;;
	esac; done; exit 0;;
show-keychain-info) [ -e "$boot/unlocked" ];;
esac`,
	"pmset": onMac + `case "$1" in
-g) cat pmset 2>/dev/null || echo " sleep 1 (sleep prevented by powerd)";;
-a) shift; while [ $# -gt 1 ]; do echo " $1 $2"; shift 2; done >pmset;;
esac`,
	"defaults": onMac + `[ "$1" != -currentHost ] || shift
key=defaults-$(printf %s "$2-$3" | tr / _)
case "$1" in
read) cat "$key";;
write) case "$5" in false) echo 0;; true) echo 1;; *) echo "$5";; esac >"$key";;
esac`,
	"mdutil": onMac + `case "$1" in
-s) cat mdutil 2>/dev/null || echo "Indexing enabled.";;
-a) [ "$3" != off ] || echo "Indexing disabled." >mdutil;;
esac`,
	"systemsetup":    onMac + `[ "$1" != -settimezone ] || { mkdir -p etc; ln -sfn "/usr/share/zoneinfo/$2" etc/localtime; }`,
	"sysadminctl":    onMac,
	"mount_virtiofs": onMac + `echo "$1 on $2 (virtio-fs)" >>"$boot/mounts"`,
	"mount": `boot=${CAL_GUEST_POWEROFF%/*}
case "$1" in
"") cat "$boot/mounts" 2>/dev/null;;
-t) echo "$3 on $4 type $2 (rw)" >>"$boot/mounts";;
esac
exit 0`,
	"pkill":       `exit 0`,
	"umount":      `exit 0`,
	"usermod":     `exit 0`,
	"chpasswd":    `cat >/dev/null`,
	"passwd":      `exit 0`,
	"iptables":    `exit 0`,
	"nft":         `exit 0`,
	"hostname":    `[ $# -gt 0 ] || echo cal-guest`,
	"timedatectl": `exit 0`,
}

func writeStandIns(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making guest programs: %w", err)
	}
	for name, body := range standIns {
		if err := WriteProgram(filepath.Join(dir, name), "#!/bin/sh\n"+body+"\n"); err != nil {
			return fmt.Errorf("making guest program: %w", err)
		}
	}
	for _, name := range []string{"halt", "reboot", "shutdown"} {
		if err := os.Symlink("poweroff", filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("making guest program: %w", err)
		}
	}
	return nil
}
