# Finds the repositories in the home and has them looked at, then what lies in ~/workspace in none of them.
# $1 is the script that looks at what was found (survey.sh), $2 how many repositories it looks at.
# Output: see parse.go. Everything a find or a git says on standard error is a reason to know less.
LC_ALL=C
export LC_ALL
unset CDPATH
home=$(cd && pwd -P && echo x) || exit 1
home=${home%?x}
cd "$home" || exit 1
printf '@H%s\0' "$home"
if ! command -v git >/dev/null 2>&1; then
  printf '@Egit is not installed in the guest\0'
fi
if [ -L workspace ]; then
  printf '@E~/workspace is a link, and links are not followed\0'
fi
# macOS keeps what programs made for themselves in ~/Library, much of it unreadable without the user's consent.
library=./.cache
if [ -d ./Library/Preferences ]; then library=./Library; fi
find . \
  \( -name node_modules -o -path ./.cache -o -path "$library" -o -path ./.npm -o -path ./.rustup \
  -o -path ./.cargo/registry -o -path ./.cargo/git -o -path ./go/pkg/mod -o -path ./.gradle -o -path ./.m2 \
  -o -path ./.pub-cache -o -path ./.nuget -o -path ./.local/share/pnpm -o -path ./.local/share/Trash \
  -o -path ./.Trash -o -path ./.bun/install -o -path ./.yarn/berry -o -path ./.conda/pkgs \) -prune \
  -o -path '*/.git/*' ! -path '*/.git/modules' ! -path '*/.git/modules/*' -prune \
  -o \( -name .git -o -type f \( -name HEAD \
  -o -name '.env' -o -name '.env.*' -o -name '.envrc' -o -name '*.pem' -o -name '*.key' -o -name '*.p12' -o -name '*.pfx' \
  -o -name '*.p8' -o -name '*.keystore' -o -name '*.jks' -o -name '*.mobileprovision' -o -name 'id_rsa' \
  -o -name 'id_ed25519' -o -name '*.sqlite' -o -name '*.sqlite3' -o -name '*.db' -o -name 'local.properties' \
  -o -name '*.local.json' -o -name '*.local.yaml' -o -name '*.local.yml' -o -name '*.local.toml' -o -name '*.local.md' \
  -o -name 'local_settings.py' -o -name 'secrets.*' -o -name 'credentials.json' -o -name '*.tfvars' \
  -o -name '*.tfstate' \) \) \
  -exec /bin/sh -c "$1" sh "$home" "$2" {} +
printf '@f%s\0' $?

is_repository() {
  [ -e "$1/.git" ] || [ -L "$1/.git" ] || { [ -f "$1/HEAD" ] && [ -d "$1/objects" ] && [ -d "$1/refs" ]; }
}

# is_plain_directory also says no to links.
is_plain_directory() { [ -d "$1" ] && [ ! -L "$1" ]; }

# holds_repository looks $2 levels below $1.
holds_repository() {
  local e
  for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    is_plain_directory "$e" || continue
    case $e in */node_modules) continue ;; esac
    is_repository "$e" && return 0
    [ "$2" -gt 1 ] && holds_repository "$e" $(($2 - 1)) && return 0
  done
  return 1
}

is_empty() {
  local e
  for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ -e "$e" ] || [ -L "$e" ]; then return 1; fi
  done
  return 0
}

# loose prints what is in $1 and in no repository, $2 levels deep.
loose() {
  local e
  for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    [ -e "$e" ] || [ -L "$e" ] || continue
    case $e in */.DS_Store) continue ;; esac
    if is_plain_directory "$e"; then
      is_repository "$e" && continue
      is_empty "$e" && continue
      if [ "$2" -gt 1 ] && holds_repository "$e" $(($2 - 1)); then
        loose "$e" $(($2 - 1))
        continue
      fi
    fi
    n=$((n + 1))
    if [ "$n" -le 200 ]; then printf '@l%s\0' "$e"; fi
  done
}

n=0
if is_plain_directory "$home/workspace" && ! is_repository "$home" && ! is_repository "$home/workspace"; then
  loose "$home/workspace" 4
fi
printf '@z%s\0' "$n"
