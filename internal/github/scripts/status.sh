# Tells how the repositories in ~/workspace are: those named as arguments, all if there are none. For each: the fields "@"
# and name, "d" and default branch, the fields of git status, "x" and its exit status with what it complained about.
LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0
export LC_ALL GIT_TERMINAL_PROMPT GIT_OPTIONAL_LOCKS
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
cd "$HOME/workspace" || exit 0
if [ $# -eq 0 ]; then set -- * .[!.]* ..?*; fi
n=0
for r; do
  [ -e "./$r/.git" ] || continue
  n=$((n + 1))
  [ "$n" -le 200 ] || break
  printf '@%s\0' "$r"
  remote=origin
  [ -d "./$r/.git/refs/remotes/origin" ] || remote=$(git -C "./$r" remote | head -n 1)
  printf 'd%s\0' "$(git -C "./$r" symbolic-ref -q --short "refs/remotes/${remote:-origin}/HEAD")"
  printf 'r%s\0' "$remote"
  { message=$(git --no-pager -c core.fsmonitor=false -C "./$r" status --porcelain=v2 --branch -z --no-renames \
    --untracked-files=all 2>&1 >&3 </dev/null); } 3>&1
  code=$?
  printf '\0x%s %s\0' "$code" "$message"
done
printf '@\0'
