# Puts proxy-start and the like into the directory $1, which is there. It is part of the image's recipe, and of the guest's setup
# (the step proxy-commands) where the image is older or not CALMenu's.
set -eu
for c in start stop restart status log; do
	cat >"$1/proxy-$c.new" <<'PROXY'
#!/bin/sh
# CALMenu 1
# proxy-start [redirect|sshuttle], -stop, -restart, -status, -log: how this guest's connections get out.
newest=
for p in "$HOME"/.cache/calmenu/calhelper-*; do
  if [ -x "$p" ] && { [ -z "$newest" ] || [ "$p" -nt "$newest" ]; }; then newest=$p; fi
done
[ -n "$newest" ] || { echo "CALMenu on the host has not connected to this guest yet" >&2; exit 1; }
c=${0##*/}
exec "$newest" proxy "${c#proxy-}" "$@"
PROXY
	chmod 755 "$1/proxy-$c.new"
	mv -f "$1/proxy-$c.new" "$1/proxy-$c"
done
