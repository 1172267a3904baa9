# Prints what changed since an instant. $1 is the root, $2 a directory only macOS has, $3 how many commits are listed,
# $4 the script that lists a repository's commits. Standard output tells of the home, standard error of what is outside
# of it: two streams for two searches at once. The host answers the clock (c) with the instant, by this clock, on the
# first line of standard input; the rest is the repositories to look at, apart by NUL bytes. Output: see parse.go.
LC_ALL=C TZ=UTC0
export LC_ALL TZ
unset CDPATH
home=$(cd && pwd -P && echo x) || exit 1
home=${home%?x}
cd "$home" || exit 1
printf 'h%s\0c%s\0' "$home" "$(date +%s.%N)"
read -r since stamp || exit 1

root=${1%/}
if [ ! -d "$2" ]; then
  {
    find "$1" -xdev \( -path "$home" -o -path "$root/proc" -o -path "$root/sys" -o -path "$root/dev" \
      -o -path "$root/run" \) -prune -o -newerct "@$since" -printf '+%y %s %p\0' >&2 2>/dev/null
    printf 'x0\0' >&2
  } &
  find . -xdev -newerct "@$since" -printf '+%y %s %P\0' 2>/dev/null
  printf 'x%s\0' $?
else
  # find has no -printf here, and takes an instant from a file alone.
  mark=$(mktemp) || exit 1
  trap 'rm -f "$mark"' EXIT
  touch -t "$stamp" "$mark" || exit 1
  show='chomp; if (/^\d+$/) { print "x$_\0"; next } my @s = lstat or next;
    print "+", -l _ ? "l" : -d _ ? "d" : -f _ ? "f" : "s", " $s[7] $_\0"'
  changed() { find "$@" -xdev -newercm "$mark" -print0 2>/dev/null; }
  {
    for d in /Applications /Library /Users/Shared /opt /private/etc /private/var /usr/local; do
      if [ -d "$root$d" ]; then changed "$root$d"; fi
    done | perl -0ne "$show"
    printf 'x0\0'
  } >&2 &
  { changed .; printf '%s\0' $?; } | perl -0ne "$show"
fi
xargs -0 /bin/sh -c "$4" sh "${since%%.*}" "$3"
wait
printf 'z\0'
