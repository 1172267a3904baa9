# Shows what a commit of everything in the repository $1 of ~/workspace would take, on a copy of its index. Fields: "f" and
# what git diff --name-status tells, by pairs; an empty one; then "d", and all that follows is the diff, of which
# at most $2 bytes are told. An "e" field is an error.
LC_ALL=C
export LC_ALL
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
g() { git --no-pager -c core.fsmonitor=false -c core.safecrlf=false -c advice.addEmbeddedRepo=false "$@" </dev/null; }
cd "$HOME/workspace/$1" || exit 1
index=$(g rev-parse --git-path index) || exit 1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/calmenu.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
if [ -e "$index" ]; then cp "$index" "$tmp/index" || exit 1; fi
base=$(g rev-parse -q --verify 'HEAD^{tree}') || base=$(g hash-object -w -t tree /dev/null)
GIT_INDEX_FILE=$tmp/index
export GIT_INDEX_FILE
g add -A . 2>"$tmp/errors" || {
  printf 'e%s\0' "$(cat "$tmp/errors")"
  exit 0
}
printf 'f\0'
g diff --cached --no-ext-diff --no-textconv --no-renames --name-status -z "$base" --
printf '\0d\0'
g diff --cached --no-ext-diff --no-textconv --no-color --no-renames --src-prefix=a/ --dst-prefix=b/ "$base" -- | head -c "$2"
