# Makes the stock image of $1: Debian as its packages leave it, with the same account and SSH settings. It is what
# `make bench` compares the guest's boot with. Only the seed is added, by Debian's own hook for its initrd.
set -eu
R=$1
rm -f "$R/etc/resolv.conf"
printf 'nameserver 10.0.2.3\n' > "$R/etc/resolv.conf"
printf '/dev/vda / ext4 noatime,errors=remount-ro 0 1\n' > "$R/etc/fstab"
cat > "$R/etc/systemd/network/10-eth.network" <<'S'
[Match]
Name=en* eth*
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
DNS=10.0.2.3
LinkLocalAddressing=no
IPv6AcceptRA=no
S
cat > "$R/etc/initramfs-tools/scripts/init-bottom/calmenu-seed" <<'S'
#!/bin/sh
[ "$1" = prereqs ] && exit 0
[ -d /seed ] && cp -a /seed/. "$rootmnt/"
exit 0
S
chmod 0755 "$R/etc/initramfs-tools/scripts/init-bottom/calmenu-seed"
chroot "$R" systemctl enable systemd-networkd.service ssh.service
chroot "$R" update-initramfs -u
