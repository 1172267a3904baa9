#!/bin/sh
# setup.sh run|test: installs what CALMenu needs to run, or to run and be tested, and does nothing when it is all there.
# Debian and its children by apt-get, as root or through sudo; macOS by brew; elsewhere it says what is missing.
set -eu

# Go unpacked there is often not on PATH.
PATH=$PATH:/usr/local/go/bin

RUN_PACKAGES='qemu-system-x86 qemu-utils mmdebstrap e2fsprogs xz-utils uidmap openssh-client tmux ca-certificates'
# gcc for the race detector; clang and lld to compile for macOS; a desktop with tray, notifications, terminal and mouse;
# peers for comparisons; vttest for sessions.
TEST_PACKAGES='gcc libc6-dev clang lld xvfb xauth xfce4-panel xfwm4 xfce4-terminal dunst libnotify-bin xdotool zenity xclip lsof
  dbus dbus-x11 imagemagick x11-utils x11-xserver-utils fonts-dejavu-core
  fonts-noto-color-emoji openssh-server rsync sshuttle nftables curl shellcheck
  git ruby vttest inotify-tools iproute2 tcpdump'
# The same for a system without apt: one command of each package that runs CALMenu.
RUN_COMMANDS='qemu-system-x86_64 qemu-img mmdebstrap mke2fs xz newuidmap ssh-keygen tmux'
TART_FORMULA=openai/tools/tart

# fail SENTENCE HINT: what failed and why, and what to do.
fail() {
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
  exit 1
}

check_go() {
  version=$("${GO:-go}" env GOVERSION 2>/dev/null) ||
    fail 'Go was not found.' 'Install Go 1.21 or newer; it fetches the version in go.mod by itself.'
  minor=${version#go1.}
  minor=${minor%%[!0-9]*}
  [ "${minor:-0}" -ge 21 ] ||
    fail "This Go is too old ($version)." 'Install Go 1.21 or newer; it fetches the version in go.mod by itself.'
}

# missing_packages NAME...: those that dpkg does not have installed.
missing_packages() {
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p' || true)
  for package in "$@"; do
    printf '%s\n' "$installed" | grep -qxF -- "$package" || printf '%s\n' "$package"
  done
}

# as_root COMMAND...: with root's rights; PATH with sbin, which ordinary users lack.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin" "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

apt() {
  as_root apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1
}

install_debian() {
  # shellcheck disable=SC2086 # the lists are words
  missing=$(missing_packages $1 | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  command="apt-get install --no-install-recommends ${missing% }"
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 ||
      fail "Packages are missing (${missing% }), and installing them needs root." "Run as root: $command"
    [ -t 0 ] || sudo -n true 2>/dev/null ||
      fail "Packages are missing (${missing% }), and sudo wants a password but there is no terminal." "Run: sudo $command"
    sudo -v || fail "Packages are missing (${missing% }), and sudo refused." "Ask an administrator to run: $command"
  fi
  printf 'installing %s\n' "${missing% }"
  log=$(mktemp)
  # An old package list names files that the mirror no longer has, so a refusal is answered by one look for a new list.
  # shellcheck disable=SC2086
  { have_lists && apt install --no-install-recommends $missing; } ||
    { apt -o APT::Update::Error-Mode=any update && apt install --no-install-recommends $missing; } || {
    why=$({ grep -E '^[EW]: .*(Failed to fetch|space|lock)' "$log" || grep '^E: ' "$log"; } | tail -n 1 | sed 's/^[EW]: //')
    fail "apt-get could not install the packages CALMenu needs: ${why:-it gave no reason}." \
      "The whole output is in $log. Check the network and free disk space, then run: $command"
  }
  rm -f "$log"
}

have_lists() {
  for list in /var/lib/apt/lists/*_Packages*; do
    [ -e "$list" ] && return 0
  done
  return 1
}

# Without root the guest image is built in a user namespace, which needs ranges of subordinate ids.
check_subordinate_ids() {
  user=$(id -un)
  [ "$(id -u)" != 0 ] || return 0
  for file in /etc/subuid /etc/subgid; do
    grep -qsE "^($user|$(id -u)):" "$file" || {
      printf 'note: %s has no range for %s; building the guest image without root needs one.\n' "$file" "$user" >&2
      printf '  hint: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s\n' "$user" >&2
      return 0
    }
  done
}

check_other() {
  missing=
  for command in $RUN_COMMANDS; do
    command -v "$command" >/dev/null 2>&1 || missing="$missing $command"
  done
  [ -z "$missing" ] || fail "This system has no apt-get, and these programs are missing:$missing." \
    'Install them with the package manager of this system, then run make again.'
  [ "$1" = run ] || fail 'The tests need a Debian desktop, and this system has no apt-get.' \
    'Run make test-fast, or make test on Debian.'
}

setup_macos() {
  command -v tart >/dev/null 2>&1 && return 0
  brew=$(command -v brew || ls /opt/homebrew/bin/brew 2>/dev/null) ||
    fail 'Tart is missing, and so is Homebrew to install it.' 'Install Homebrew (https://brew.sh), then run make again.'
  printf 'installing tart\n'
  "$brew" install "$TART_FORMULA" || fail 'Homebrew could not install tart.' "Try: brew install $TART_FORMULA"
}

what=${1:-run}
case $what in
  run) packages=$RUN_PACKAGES ;;
  test) packages="$RUN_PACKAGES $TEST_PACKAGES" ;;
  *) fail "setup.sh does not know \"$what\"." 'Use: setup.sh run, or setup.sh test.' ;;
esac

check_go
case $(uname -s) in
  Darwin) setup_macos ;;
  Linux)
    if command -v apt-get >/dev/null 2>&1; then
      install_debian "$packages"
      check_subordinate_ids
    else
      check_other "$what"
    fi
    ;;
  *) fail "CALMenu does not run on $(uname -s)." 'Use macOS 13 or newer on Apple silicon, or Linux on x86-64.' ;;
esac
