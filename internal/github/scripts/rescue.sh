# Saves what is at risk in one repository as one commit that leads to all of it, without touching branches, work trees or
# the index. $1 is "push" or "bundle", $2 the repository (a work tree or a git directory), $3 the branch, $4 the bundle's
# name in ~/output, the others are the remotes that may be pushed to, best first.
# Output: fields ended by NUL bytes: "c" commit, "p" number of parents, "r" remote, "s" SHA-256 of the bundle; "L", names left out, an empty field;
# "e" an error, which ends it; "." the end.
LC_ALL=C GIT_TERMINAL_PROMPT=0
GIT_AUTHOR_NAME='CALMenu rescue' GIT_AUTHOR_EMAIL=rescue@calmenu.invalid
GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
export LC_ALL GIT_TERMINAL_PROMPT GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
unset CDPATH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE
mode=$1 repo=$2 branch=$3 name=$4
shift 4
nl='
'
tmp=

g() {
  git --no-pager --no-replace-objects -c core.fsmonitor=false -c core.hooksPath=/dev/null -c gc.auto=0 \
    -c maintenance.auto=false -c commit.gpgSign=false -c push.gpgSign=false -c push.followTags=false \
    -c core.safecrlf=false -c advice.addEmbeddedRepo=false "$@" </dev/null
}

fail() {
  printf 'e%s\0' "$1"
  exit 0
}

real() {
  real=$(cd "$1" && pwd -P && echo x) || return 1
  real=${real%?x}
}

slurp() {
  local line k
  v='' k=0
  while IFS= read -r line || [ -n "$line" ]; do
    if [ "$k" -eq 0 ]; then v=$line; else v=$v$nl$line; fi
    k=$((k + 1))
    [ "$k" -lt 20 ] || break
  done <"$1"
}

git_dir_of() { # a work tree's own git directory, into d
  d=$1/.git
  if [ -f "$d" ]; then
    slurp "$d"
    case $v in
      'gitdir: /'*) d=${v#gitdir: } ;;
      'gitdir: '*) d=$1/${v#gitdir: } ;;
    esac
  fi
  real "$d" || fail 'its git directory cannot be entered'
  d=$real
}

trees=0
bare=yes
if [ -e "$repo/.git" ]; then
  git_dir_of "$repo"
  common=$d bare=no
  if [ -f "$d/commondir" ]; then
    slurp "$d/commondir"
    case $v in /*) ;; *) v=$d/$v ;; esac
    real "$v" || fail 'the repository it belongs to cannot be entered'
    common=$real
  fi
else
  real "$repo" || fail 'it cannot be entered'
  common=$real
fi
tmp=$(mktemp -d "$common/calmenu-rescue.XXXXXX") || fail 'there is no room for temporary files in it'
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

parents= # commit identifiers, apart by spaces
add_parent() { case " $parents " in *" $1 "*) ;; *) parents="$parents $1" ;; esac; }

# in_index runs git in the current work tree on the copy of its index.
in_index() { GIT_INDEX_FILE=$tmp/index g --git-dir="$t/.git" "$@"; }

# each_secret runs in_index with the patterns of what is never pushed unless it is tracked.
each_secret() {
  in_index "$@" ':(glob,icase)**/.env' ':(glob,icase)**/.env.*' ':(glob)**/.envrc' ':(glob,icase)**/*.pem' \
    ':(glob,icase)**/*.key' ':(glob,icase)**/*.p12' ':(glob,icase)**/*.pfx' ':(glob,icase)**/*.p8' \
    ':(glob,icase)**/*.keystore' ':(glob,icase)**/*.jks' ':(glob)**/*.mobileprovision' ':(glob)**/id_rsa' \
    ':(glob)**/id_ed25519' ':(glob)**/*.sqlite' ':(glob)**/*.sqlite3' ':(glob)**/*.db' ':(glob)**/local.properties' \
    ':(glob)**/*.local.*' ':(glob)**/local_settings.py' ':(glob)**/secrets.*' ':(glob)**/credentials.json' \
    ':(glob)**/*.tfvars' ':(glob)**/*.tfstate' ':(exclude,glob)**/node_modules/**' ':(exclude,glob)**/.venv/**' \
    ':(exclude,glob)**/venv/**' ':(exclude,glob)**/site-packages/**' ':(exclude,glob)**/Pods/**'
}

# snapshot makes commits of the work tree $1, where it differs from its HEAD; tree is left as what it holds.
snapshot() {
  local head headtree staged c
  t=$1
  git_dir_of "$t"
  cd "$t" || fail 'a work tree of it cannot be entered'
  rm -f "$tmp/index"
  if [ -e "$d/index" ]; then cp "$d/index" "$tmp/index" || fail 'its index cannot be read'; fi
  head=$(g --git-dir="$t/.git" rev-parse -q --verify 'HEAD^{commit}')
  headtree=$(g --git-dir="$t/.git" rev-parse -q --verify 'HEAD^{tree}')
  staged=$(in_index write-tree 2>/dev/null) # fails in the middle of a merge
  look_again
  in_index add -u || fail "$(in_index add -u 2>&1)"
  # Everything untracked, then without what is never pushed; ignored files only where they stay with their owner.
  in_index add -A --ignore-errors . 2>"$tmp/errors" || printf 'w%s\0' "$(cat "$tmp/errors")"
  if [ "$mode" = push ]; then
    printf 'L\0'
    forget_secrets
    printf '\0'
  else
    each_secret ls-files -z -o -i --exclude-standard -- >"$tmp/names"
    GIT_INDEX_FILE=$tmp/index git --literal-pathspecs --git-dir="$t/.git" -c core.fsmonitor=false add -f --ignore-errors \
      --pathspec-from-file="$tmp/names" --pathspec-file-nul 2>"$tmp/errors" || printf 'w%s\0' "$(cat "$tmp/errors")"
  fi
  tree=$(in_index write-tree) || fail 'its files cannot be written to it: is the disk full?'
  if [ -n "$staged" ] && [ "$staged" != "$tree" ] && [ "$staged" != "$headtree" ]; then
    c=$(g --git-dir="$common" commit-tree "$staged" ${head:+-p "$head"} -m "Staged in $t") || fail 'no commit can be made'
    add_parent "$c"
  fi
  if [ "$tree" != "$headtree" ]; then
    c=$(g --git-dir="$common" commit-tree "$tree" ${head:+-p "$head"} -m "Uncommitted in $t") || fail 'no commit can be made'
    add_parent "$c"
  elif [ -n "$head" ]; then
    add_parent "$head"
  fi
  trees=$((trees + 1))
}

# look_again undoes, in the copied index, that git was told not to look at files that are there.
look_again() {
  local line
  in_index ls-files -v | grep '^[a-zS] ' >"$tmp/names" || return 0
  while IFS= read -r line; do
    line=${line#? }
    if [ -e "$line" ] || [ -L "$line" ]; then printf '%s\n' "$line"; else case $line in '"'*) printf '%s\n' "$line" ;; esac; fi
  done <"$tmp/names" >"$tmp/hidden"
  for how in --no-assume-unchanged --no-skip-worktree; do
    GIT_INDEX_FILE=$tmp/index git --git-dir="$t/.git" -c core.fsmonitor=false update-index $how --stdin <"$tmp/hidden" ||
      fail 'files git does not look at cannot be saved'
  done
}

# forget_secrets takes untracked files that look secret out of the copied index, and prints them and the ignored ones.
forget_secrets() {
  cp "$tmp/index" "$tmp/full"
  if [ -e "$d/index" ]; then cp "$d/index" "$tmp/index"; else rm -f "$tmp/index"; fi
  each_secret ls-files -z -o -- >"$tmp/names"
  mv "$tmp/full" "$tmp/index"
  cat "$tmp/names"
  GIT_INDEX_FILE=$tmp/index git --git-dir="$t/.git" -c core.fsmonitor=false update-index -z --force-remove --stdin <"$tmp/names" ||
    fail 'secrets cannot be left out'
}

first=
if [ "$bare" = no ]; then
  main=$repo
  snapshot "$repo"
  first=$tree
fi
for w in "$common"/worktrees/*/; do
  [ -f "${w}gitdir" ] || continue
  slurp "${w}gitdir"
  case $v in /*) ;; *) v=$w$v ;; esac
  v=${v%/.git}
  [ -e "$v/.git" ] || continue
  [ "$bare" = no ] && [ "$v" = "$main" ] && continue
  snapshot "$v"
done
case $common in
  */.git) # the repository was named by a linked work tree: its main one is saved as well
    if [ "$bare" = no ] && [ "$main" != "${common%/.git}" ] && [ -f "$main/.git" ]; then snapshot "${common%/.git}"; fi ;;
esac
cd / || exit 1
first=${first:-$(g --git-dir="$common" hash-object -w -t tree /dev/null)}

remote=
if [ "$mode" = push ]; then
  current=$(g --git-dir="$common" symbolic-ref -q --short HEAD)
  for key in "branch.$current.pushRemote" remote.pushDefault "branch.$current.remote"; do
    want=$(g --git-dir="$common" config "$key") || continue
    for r; do
      if [ -z "$remote" ] && [ "$r" = "$want" ]; then remote=$r; fi
    done
  done
  remote=${remote:-${1:-}}
  [ -n "$remote" ] || fail 'it has no remote outside the guest'
  tips=$(g --git-dir="$common" rev-list --simplify-by-decoration --max-count=1001 --exclude=refs/stash --all \
    --not "--remotes=$remote") || fail 'its commits cannot be read'
else
  tips=$(g --git-dir="$common" rev-parse -q --verify 'HEAD^{commit}')
fi
n=0
for c in $tips; do
  n=$((n + 1))
  add_parent "$c"
done
[ "$n" -le 1000 ] || fail 'it has too many branches for one rescue'
if g --git-dir="$common" rev-parse -q --verify refs/stash >/dev/null; then
  stashes=$(g --git-dir="$common" rev-list -g --max-count=1000 refs/stash)
  stashes=${stashes:-$(g --git-dir="$common" rev-parse refs/stash)}
  for c in $stashes; do add_parent "$c"; done
fi
set --
n=0
for c in $parents; do
  set -- "$@" -p "$c"
  n=$((n + 1))
done
commit=$(g --git-dir="$common" commit-tree "$first" "$@" -m "Rescue of work at risk

Its parents are the uncommitted states, branches and stashes that were on no remote.") || fail 'no commit can be made'
if [ "$mode" = push ]; then
  said=$(g --git-dir="$common" push -q --no-verify --recurse-submodules=no "$remote" "$commit:refs/heads/$branch" 2>&1) ||
    fail "pushing to $remote failed: $said"
  # Done is what every place it was pushed to says it has.
  urls=$(g --git-dir="$common" remote get-url --push --all "$remote") || fail "where $remote is cannot be read"
  set -f
  IFS=$nl
  for url in $urls; do
    said=$(g --git-dir="$common" ls-remote "$url" "refs/heads/$branch" 2>&1) || fail "asking $remote for it failed: $said"
    case $nl$said in
      *"$nl$commit	refs/heads/$branch"*) ;;
      *) fail "$remote does not have what was pushed" ;;
    esac
  done
  set +f
  unset IFS
  printf 'r%s\0' "$remote"
else
  mkdir -p "$HOME/output" || fail 'there is no ~/output'
  g --git-dir="$common" update-ref "refs/heads/$branch" "$commit" '' || fail 'the branch to bundle is there already'
  said=$(g --git-dir="$common" bundle create -q "$tmp/bundle" --all 2>&1)
  code=$?
  g --git-dir="$common" update-ref -d "refs/heads/$branch" "$commit"
  [ "$code" -eq 0 ] || fail "bundling failed: $said"
  said=$(g --git-dir="$common" bundle verify "$tmp/bundle" 2>&1) || fail "the bundle is not whole: $said"
  sum=$(sha256sum <"$tmp/bundle" 2>/dev/null || shasum -a 256 <"$tmp/bundle") || fail 'the bundle cannot be read'
  printf 's%s\0' "${sum%%[!0-9a-f]*}"
  mv "$tmp/bundle" "$HOME/output/$name" || fail 'the bundle cannot be put into ~/output'
fi
printf 'c%s\0p%s\0.\0' "$commit" "$n"
