# Looks at what find has found: $1 is the home, $2 how many repositories to look at, the others are paths that begin with
# "./": of .git entries, of files named HEAD, and of files that look precious. Output: see parse.go.
exec 2>/dev/null
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE \
  GIT_COMMON_DIR GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_TRACE GIT_TRACE2 GIT_EXTERNAL_DIFF
# No transport: a partial clone would fetch what it lacks.
GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=none GIT_NO_LAZY_FETCH=1
export GIT_TERMINAL_PROMPT GIT_ALLOW_PROTOCOL GIT_NO_LAZY_FETCH
home=$1 max=$2
shift 2
nl='
'
repositories=0
seen=// # git directories looked at; no absolute path holds "//"
trees=// # work trees looked at

# What a repository's own configuration names is not run: it could lie, or never end. A process is what costs in an
# emulated guest, so they are counted here: $git is a command and no function, since a shell has a command alone in $(...)
# take its own place.
git='git --no-pager --no-optional-locks --no-replace-objects -c core.fsmonitor=false -c core.hooksPath=/dev/null
 -c core.untrackedCache=false -c core.trustctime=true -c log.showSignature=false -c gc.auto=0 -c maintenance.auto=false'

# run is $git; then it prints how that ended, as the record "x$1".
run() {
  local what message code
  what=$1
  shift
  { message=$($git "$@" 2>&1 >&3 </dev/null); } 3>&1
  code=$?
  printf '\0x%s %s %s\0' "$what" "$code" "$message"
}

problem() { printf '@e%s\0%s\0' "$1" "$2"; }

# slurp reads a small file into v: the names git keeps in files may hold line ends.
slurp() {
  local line k
  v='' k=0
  while IFS= read -r line || [ -n "$line" ]; do
    if [ "$k" -eq 0 ]; then v=$line; else v=$v$nl$line; fi
    k=$((k + 1))
    [ "$k" -lt 20 ] || break
  done <"$1"
}

# real enters a directory and sets real to its path without links.
real() {
  cd -P "$1" || return 1
  real=$PWD
}

# is_local tells whether a remote's URL leads to somewhere in the guest, or to nowhere known.
is_local() {
  case $1 in
    *://localhost | *://localhost[:/]* | *://*@localhost | *://*@localhost[:/]*) return 0 ;;
    *://127.* | *://*@127.* | *://\[::1\]* | *://*@\[::1\]*) return 0 ;;
    localhost:* | *@localhost:* | 127.*:* | *@127.*:*) return 0 ;;
    /* | ./* | ../* | '~'* | file:* | ext::* | fd::*) return 0 ;;
    *:*) return 1 ;;
  esac
  return 0
}

# references looks at what a git directory's branches, tags and stashes hold, once.
references() {
  local c config line key name away message w
  c=$1
  case $seen in *"//$c//"*) return ;; esac
  seen=$seen$c//
  repositories=$((repositories + 1))
  if [ "$repositories" -gt "$max" ]; then
    printf '@m%s\0' "$c"
    return
  fi
  printf '@c%s\0' "$c"
  # Names of remotes hold no spaces and no line ends; one that does all the same is no remote that keeps anything.
  config=$($git --git-dir="$c" config --get-regexp '^(remote\..*\.(push)?url|core\.(bare|worktree))$' </dev/null)
  set -f
  IFS=$nl
  away=//
  for line in $config; do
    printf 'r%s\0' "$line"
    key=${line%% *}
    name=${key#remote.}
    case $key in
      *.url) name=${name%.url} ;;
      *.pushurl) name=${name%.pushurl} ;;
      *) continue ;;
    esac
    if is_local "${line#* }"; then away=$away$name//; fi
  done
  set --
  for line in $config; do
    key=${line%% *}
    case $key in remote.*.url) ;; *) continue ;; esac
    name=${key#remote.}
    name=${name%.url}
    case $away in *"//$name//"*) continue ;; esac
    set -- "$@" "--remotes=$name"
  done
  set +f
  unset IFS
  if [ $# -gt 0 ]; then set -- --not "$@"; fi
  if message=$($git --git-dir="$c" rev-list --max-count=1 --all "$@" 2>&1 </dev/null) && [ -z "$message" ]; then
    printf 'xrefs 0 \0xcommits 0 \0' # nothing leads to anything no remote has
  else
    run refs --git-dir="$c" for-each-ref --count=3000 --format='&%(objectname) %(*objectname) %(refname)%00' \
      refs/heads refs/notes refs/stash refs/tags
    printf '%%'
    run commits --git-dir="$c" rev-list --max-count=2001 --exclude=refs/stash --all "$@"
  fi
  for w in "$c"/worktrees/*/; do
    [ -f "${w}gitdir" ] || continue
    slurp "${w}gitdir"
    case $v in /*) ;; *) v=$w$v ;; esac
    v=${v%/.git}
    if [ -e "$v/.git" ]; then work_tree "$v"; else printf '@w%s\0%s\0' "$v" "$c"; fi
  done
}

# work_tree looks at the work tree $1, and at the repository it is of.
work_tree() {
  local t d c
  t=$1
  case $trees in *"//$t//"*) return ;; esac
  trees=$trees$t//
  d=$t/.git
  if [ -f "$d" ]; then
    slurp "$d"
    case $v in
      'gitdir: /'*) d=${v#gitdir: } ;;
      'gitdir: '*) d=$t/${v#gitdir: } ;;
    esac
  fi
  if ! real "$d"; then
    problem "$t" 'its git directory cannot be entered'
    return
  fi
  d=$real c=$real
  if [ -f "$d/commondir" ]; then
    slurp "$d/commondir"
    case $v in /*) c=$v ;; *) c=$d/$v ;; esac
    if ! real "$c"; then
      problem "$t" 'the repository it belongs to cannot be entered'
      return
    fi
    c=$real
  fi
  references "$c"
  [ "$repositories" -le "$max" ] || return
  if [ -f "$t/.git" ] && [ "$c" = "$d" ] && [ "$($git --git-dir="$d" config --type=bool core.bare </dev/null)" = true ]; then
    beside "$t" "$d"
    return
  fi
  if ! cd "$t"; then
    problem "$t" 'it cannot be entered'
    return
  fi
  printf '@t%s\0%s\0%s\0' "$t" "$d" "$c"
  [ -d "$d/rebase-merge" ] && printf 'orebase\0'
  if [ -f "$d/rebase-apply/applying" ]; then printf 'oam\0'; elif [ -d "$d/rebase-apply" ]; then printf 'orebase\0'; fi
  [ -f "$d/MERGE_HEAD" ] && printf 'omerge\0'
  [ -f "$d/CHERRY_PICK_HEAD" ] && printf 'ocherry-pick\0'
  [ -f "$d/REVERT_HEAD" ] && printf 'orevert\0'
  [ -f "$d/BISECT_LOG" ] && printf 'obisect\0'
  # Names are apart by NUL bytes, and each field begins with a character of git's own choice.
  run status --git-dir="$t/.git" status --porcelain=v2 --branch --show-stash -z --no-renames --untracked-files=all \
    --ignored=matching --ignore-submodules=none --no-ahead-behind
  printf '\0'
  hidden "$t/.git"
  printf '.\0'
}

# beside prints what is in the directory $1, whose .git file leads to the bare repository $2, and in no work tree.
beside() {
  local e
  for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    [ -e "$e" ] || [ -L "$e" ] || continue
    case $e in "$2" | "$1/.git" | */.DS_Store) continue ;; esac
    [ -e "$e/.git" ] || printf '@b%s\0' "$e"
  done
}

# hidden prints the tracked files git was told not to look at and that are there (in a sparse checkout most are not), as
# git quotes them. Hardly any repository has some: whether, is found out without another process.
hidden() {
  local all line name n
  all=$nl$($git --git-dir="$1" ls-files -v </dev/null)
  case $all in
    *"$nl"[abcdefghijklmnopqrstuvwxyzS]' '*) ;;
    *) return ;;
  esac
  n=0
  $git --git-dir="$1" ls-files -v </dev/null | grep '^[a-zS] ' | while IFS= read -r line; do
    name=${line#? }
    case $name in
      '"'*) ;;
      *) [ -e "$name" ] || [ -L "$name" ] || continue ;;
    esac
    printf 'h%s\0' "$name"
    n=$((n + 1))
    [ "$n" -lt 500 ] || break
  done
}

for p; do
  p=$home/${p#./}
  case $p in
    */.git) work_tree "${p%/.git}" ;;
    */HEAD)
      p=${p%/HEAD}
      if [ -d "$p/objects" ] && [ -d "$p/refs" ] && real "$p"; then references "$real"; fi
      ;;
    *) printf '@p%s\0' "$p" ;;
  esac
done
exit 0
