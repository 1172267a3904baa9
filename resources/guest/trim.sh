# Takes from the guest's root file system, $1, what only costs time at boot: under an emulated CPU each unit is tens of
# milliseconds, and half of them look for hardware a virtual machine cannot have. Run by mmdebstrap after customize.sh.
set -eu
R=$1
U=$R/etc/systemd/system

mask() {
	for unit; do ln -sfn /dev/null "$U/$unit"; done
}
# Devices: devtmpfs has all nodes there are, calinit has loaded their modules.
mask systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \
	systemd-udev-settle.service systemd-hwdb-update.service systemd-modules-load.service kmod-static-nodes.service \
	systemd-tmpfiles-setup-dev.service systemd-rfkill.socket modprobe@configfs.service modprobe@dm_mod.service \
	modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service
# Mounts: calinit mounted the root; nothing needs the rest at boot.
mask systemd-remount-fs.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
	sys-kernel-config.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount systemd-binfmt.service
: > "$R/etc/fstab"
# Network: calinit set the one address.
mask systemd-networkd.service systemd-networkd.socket systemd-network-generator.service \
	systemd-networkd-wait-online.service systemd-resolved.service
# Logins: SSH is the only door, and it has no PAM.
mask systemd-logind.service getty.target getty@tty1.service serial-getty@ttyS0.service systemd-user-sessions.service \
	systemd-ask-password-console.path systemd-ask-password-wall.path systemd-initctl.socket \
	systemd-update-utmp.service systemd-update-utmp-runlevel.service
# House-keeping: the image is finished, and timers would only wake an idle guest.
mask systemd-tmpfiles-setup.service systemd-tmpfiles-clean.timer systemd-sysusers.service systemd-firstboot.service \
	systemd-random-seed.service systemd-journal-flush.service systemd-journal-catalog-update.service \
	systemd-journald-audit.socket systemd-machine-id-commit.service systemd-update-done.service \
	systemd-boot-system-token.service systemd-pstore.service ldconfig.service e2scrub_reap.service e2scrub_all.timer \
	apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer man-db.timer nftables.service

mkdir -p "$R/etc/systemd/journald.conf.d" "$R/etc/systemd/system.conf.d" "$U/sysinit.target.wants"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\nForwardToSyslog=no\nAudit=no\n' \
	> "$R/etc/systemd/journald.conf.d/calmenu.conf"
printf '[Manager]\nShowStatus=no\nDefaultTimeoutStopSec=5s\nDefaultTimeoutStartSec=30s\n' \
	> "$R/etc/systemd/system.conf.d/calmenu.conf"

# An SSH server that starts first and does not test its configuration, which does not change. -r: each connection is
# served by a fork alone. Otherwise sshd runs itself anew for each, to lie elsewhere in memory; nobody but the host can
# connect, and to load its thirty libraries takes an emulated guest longer than the rest of a log-in.
mask ssh.service ssh.socket
cat > "$U/calmenu-ssh.service" <<'S'
[Unit]
Description=SSH for the host
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
[Service]
ExecStart=/usr/sbin/sshd -D -e -r
RuntimeDirectory=sshd
RuntimeDirectoryMode=0755
# Sessions end with the machine, not with the server; tmux and what runs in it get SIGTERM from the final kill.
KillMode=process
Restart=on-failure
S
ln -sfn ../calmenu-ssh.service "$U/sysinit.target.wants/calmenu-ssh.service"
ln -sfn /lib/systemd/system/multi-user.target "$U/default.target"

# Nothing creates these at boot.
chmod 1777 "$R/tmp" "$R/var/tmp"
# One fixed identity saves systemd its first-boot work. Nothing in the guest may rely on it being unique.
tr -d - < /proc/sys/kernel/random/uuid > "$R/etc/machine-id"
# The initrd is calinit; a kernel upgrade in the guest changes nothing that boots.
rm -rf "$R"/boot/initrd.img* "$R"/boot/System.map* "$R"/initrd.img* "$R"/vmlinuz*
