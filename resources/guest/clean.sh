# The last hook: leaves nothing of the build in the guest, $1.
set -eu
R=$1
rm -rf "$R/calmenu-export" "$R"/var/log/*.log "$R"/var/log/apt "$R"/var/cache/debconf/*-old "$R"/root/.npm
