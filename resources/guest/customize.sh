# Customises the guest's root file system, $1. Run by mmdebstrap as a hook, as the (possibly namespaced) root.
set -eu
R=$1

# The account everything is used as. '*' is no valid password hash but not a locked account either: with UsePAM off,
# sshd refuses locked ('!') accounts even with a key.
chroot "$R" useradd --uid 1000 --create-home --shell /bin/bash --groups sudo --password '*' admin
chroot "$R" usermod --password '*' root
cat > "$R/etc/sudoers.d/admin" <<'S'
Defaults env_keep += "http_proxy https_proxy no_proxy CAL_VM CAL_VM_INFO"
Defaults !fqdn
admin ALL=(ALL:ALL) NOPASSWD: ALL
S
chmod 0440 "$R/etc/sudoers.d/admin"
for d in workspace output .local .local/bin; do
	install -d -m 0755 -o 1000 -g 1000 "$R/home/admin/$d"
done
install -d -m 0700 -o 1000 -g 1000 "$R/home/admin/.ssh"
# `npm install -g` without sudo.
printf 'prefix=/home/admin/.local\nupdate-notifier=false\nfund=false\n' > "$R/home/admin/.npmrc"
chown 1000:1000 "$R/home/admin/.npmrc"

# Host keys come with the seed at each start, never with the image.
rm -f "$R"/etc/ssh/ssh_host_*

# The file's name sorts first: sshd takes the first value of each keyword.
# Proxy: the only way out is a proxy on the guest's own loopback, carried by the host's SSH connection.
cat > "$R/etc/ssh/sshd_config.d/01-calmenu.conf" <<'S'
HostKey /etc/ssh/ssh_host_ed25519_key
AllowUsers admin
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
UseDNS no
GSSAPIAuthentication no
KexAlgorithms curve25519-sha256
PrintMotd no
PrintLastLog no
X11Forwarding no
AllowAgentForwarding no
AllowTcpForwarding yes
GatewayPorts no
PermitTunnel no
MaxSessions 64
MaxStartups 64
ClientAliveInterval 0
AcceptEnv LANG LC_* TERM COLORTERM NO_COLOR CAL_*
SetEnv CAL_VM=true CAL_VM_INFO=/home/admin/.cal-vm-info http_proxy=http://127.0.0.1:3128 https_proxy=http://127.0.0.1:3128 no_proxy=localhost,127.0.0.1 LANG=C.UTF-8 PATH=/home/admin/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
S

# The same for login shells; a later choice of the user wins.
cat > "$R/etc/profile.d/calmenu.sh" <<'S'
export CAL_VM=true CAL_VM_INFO=/home/admin/.cal-vm-info
export http_proxy="${http_proxy-http://127.0.0.1:3128}" https_proxy="${https_proxy-http://127.0.0.1:3128}"
export no_proxy="${no_proxy-localhost,127.0.0.1}" LANG="${LANG-C.UTF-8}"
case ":$PATH:" in *:/home/admin/.local/bin:*) ;; *) PATH=/home/admin/.local/bin:/usr/local/sbin:/usr/sbin:/sbin:$PATH ;; esac
S
cat > "$R/etc/apt/apt.conf.d/90calmenu" <<'S'
Acquire::http::Proxy "http://127.0.0.1:3128";
Acquire::https::Proxy "http://127.0.0.1:3128";
Acquire::Languages "none";
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
S
# No proxy here: who needs one is told when the guest is set up (git-proxy).
cat > "$R/etc/gitconfig" <<'S'
[init]
	defaultBranch = main
[safe]
	directory = *
S
printf 'LANG=C.UTF-8\n' > "$R/etc/default/locale"

# Watching a work tree with node_modules in it takes one watch a directory.
cat > "$R/etc/sysctl.d/60-calmenu.conf" <<'S'
fs.inotify.max_user_watches = 1048576
fs.inotify.max_user_instances = 1024
S

echo vm > "$R/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm\n::1 localhost ip6-localhost\n' > "$R/etc/hosts"
# QEMU's resolver address: unreachable (restrict=on) until a tunnel catches it, so do not wait long for it.
rm -f "$R/etc/resolv.conf"
printf 'nameserver 10.0.2.3\noptions timeout:1 attempts:2\n' > "$R/etc/resolv.conf"

# The proxies the host fetched packages through mean nothing in the guest; the other settings of its apt still do.
if [ -e "$R/etc/apt/apt.conf.d/99mmdebstrap" ]; then
	sed -i '/[Pp]roxy/d' "$R/etc/apt/apt.conf.d/99mmdebstrap"
fi
