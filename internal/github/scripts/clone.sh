# Clones $1 into ~/workspace/$2, or ~/workspace/$3 if that is taken, at branch $4 (empty: the default one), and makes the
# branch $5 there. Fields: "n" and its name, "b" and the branch; "e" and an error, which is all then.
LC_ALL=C GIT_TERMINAL_PROMPT=0
export LC_ALL GIT_TERMINAL_PROMPT
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
PATH=$PATH:/opt/homebrew/bin:/usr/local/bin
mkdir -p "$HOME/workspace" && cd "$HOME/workspace" || exit 1
name=$2
if [ -e "./$name" ] || [ -L "./$name" ]; then name=$3; fi
if [ -e "./$name" ] || [ -L "./$name" ]; then
  printf 'e%s\0' "~/workspace/$2 and ~/workspace/$3 are there already"
  exit 0
fi
tmp=$(mktemp -d ./.clone.XXXXXX) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
set -- "$1" "$5" ${4:+--branch "$4"}
url=$1 new=$2
shift 2
said=$(git clone -q --origin origin "$@" -- "$url" "$tmp/repository" 2>&1 </dev/null) || {
  printf 'e%s\0' "$said"
  exit 0
}
said=$(git -C "$tmp/repository" checkout -q -b "$new" 2>&1 </dev/null) || {
  printf 'e%s\0' "$said"
  exit 0
}
mv "$tmp/repository" "./$name" || exit 1
printf 'n%s\0b%s\0' "$name" "$new"
