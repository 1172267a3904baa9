# Puts what the host needs to know of the guest, $1, into $1/calmenu-export: the kernel, its initrd if it has one, the
# modules calinit loads, numbered in loading order, and the package registries it is set up for. mmdebstrap's copy-out takes it from there. Run before trim.sh.
set -eu
R=$1
X=$R/calmenu-export
mkdir -p "$X/modules"
for v in "$R"/lib/modules/*; do version=${v##*/}; done
cp "$R/boot/vmlinuz-$version" "$X/vmlinuz"
if [ -e "$R/boot/initrd.img-$version" ]; then cp "$R/boot/initrd.img-$version" "$X/initrd.img"; fi
n=10
chroot "$R" modprobe --set-version "$version" --show-depends --all virtio_pci virtio_blk virtio_net virtio_rng ext4 |
	while read -r verb path _; do
		[ "$verb" = insmod ] || continue
		name=${path##*/}
		if ls "$X/modules" | grep -q -x "[0-9]*-$name"; then continue; fi
		cp "$R$path" "$X/modules/$n-$name"
		n=$((n + 1))
	done
# The package registries the guest was made from and is set up for: its way out lets these through.
{
	cat "$R"/etc/apt/sources.list "$R"/etc/apt/sources.list.d/*.list "$R"/etc/apt/sources.list.d/*.sources 2>/dev/null |
		grep -o 'https\{0,1\}://[^ ]*' || true
	HOME=/root chroot "$R" npm config get registry 2>/dev/null || true
} | sort -u >"$X/registries"
chmod -R a+rX "$X"
