# Lists the commits made since $1 (seconds), at most $2, of each of the git directories that follow. Commits that only a
# remote's branches have are not made, but fetched. What a repository's own configuration names is not run: it could
# lie, or never end.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE \
  GIT_COMMON_DIR GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_TRACE GIT_TRACE2
GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=none GIT_NO_LAZY_FETCH=1
export GIT_TERMINAL_PROMPT GIT_ALLOW_PROTOCOL GIT_NO_LAZY_FETCH
since=$1 max=$2
shift 2
for r; do
  printf 'r%s\0' "$r"
  git --no-pager --no-optional-locks --no-replace-objects --git-dir="$r" -c core.fsmonitor=false \
    -c core.hooksPath=/dev/null log -z --since="$since" --max-count="$max" --exclude=refs/stash \
    --exclude='refs/remotes/*' --all --no-show-signature --no-notes --no-color \
    --format='k%h %ct %s' </dev/null 2>/dev/null
  printf 'e%s\0' $?
done
