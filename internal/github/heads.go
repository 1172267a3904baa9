package github

import (
	"context"
	"fmt"
	"strings"

	"github.com/calmenu/calmenu/internal/guest"
)

// Head is where a repository's work tree stands.
type Head struct {
	Path   string // below the guest's home
	Branch string // empty: detached
	Commit string // empty: none yet, or not found
	// Recent marks the one whose index, which git writes at nearly all it does, was written last.
	Recent bool
	// State is "clean", "dirty", or empty: it was not asked for, or not found out.
	State string
}

// headsScript prints path, HEAD and the commit it leads to of each repository in ~/workspace, NUL-separated. It starts no
// process: in an emulated guest one git costs more than all of this.
const headsScript = `cd "$HOME/workspace" 2>/dev/null || exit 0
n=0 recent=
for d in */; do
	[ -f "$d.git/HEAD" ] || continue
	n=$((n+1)); [ $n -le 64 ] || break
	head= commit=
	read -r head <"$d.git/HEAD"
	case $head in
	"ref: "*)
		ref=${head#ref: }
		case $ref in *..*|/*) continue;; esac
		if [ -f "$d.git/$ref" ]; then
			read -r commit <"$d.git/$ref"
		elif [ -f "$d.git/packed-refs" ]; then
			while read -r c r; do [ "$r" = "$ref" ] && commit=$c && break; done <"$d.git/packed-refs"
		fi;;
	*) commit=$head;;
	esac
	printf '%s\0%s\0%s\0' "workspace/${d%/}" "$head" "$commit"
	[ -e "$recent.git/index" ] && ! [ "$d.git/index" -nt "$recent.git/index" ] || recent=$d
done
[ -z "$recent" ] || printf '@%s\0\0\0' "workspace/${recent%/}"`

// statesScript prints after that whether each of them has files that are not as committed, for which it has to start git. What
// a repository's own configuration names is not run.
const statesScript = `
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT
GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=none GIT_NO_LAZY_FETCH=1
export GIT_TERMINAL_PROMPT GIT_ALLOW_PROTOCOL GIT_NO_LAZY_FETCH
n=0
for d in */; do
	[ -f "$d.git/HEAD" ] || continue
	n=$((n+1)); [ $n -le 64 ] || break
	out=$(git --no-pager --no-optional-locks --no-replace-objects -c core.fsmonitor=false -c core.hooksPath=/dev/null \
		-C "./$d" status --porcelain --untracked-files=normal --no-renames </dev/null 2>/dev/null) || continue
	if [ -z "$out" ]; then state=clean; else state=dirty; fi
	printf '!%s\0%s\0\0' "workspace/${d%/}" "$state"
done`

// HeadsAndStates is Heads with each one's State, as far as it is known when ctx ends: what came until then is returned with
// the error.
func HeadsAndStates(ctx context.Context, g Guest) ([]Head, error) {
	r, err := g.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", headsScript + statesScript}, Early: true, Limit: 256 << 10})
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("exit code %d", r.Exit)
	}
	if err != nil {
		err = fmt.Errorf("looking where repositories stand: %w", err)
	}
	return parseHeads(string(r.Stdout)), err
}

// Heads tells where the repositories in the guest's ~/workspace stand, without asking git. It is for the record: what a
// hostile guest says of itself is cut to size and made harmless, not made true.
func Heads(ctx context.Context, g Guest) ([]Head, error) {
	r, err := g.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", headsScript}, Early: true, Limit: 256 << 10})
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("exit code %d", r.Exit)
	}
	if err != nil {
		return nil, fmt.Errorf("looking where repositories stand: %w", err)
	}
	return parseHeads(string(r.Stdout)), nil
}

const (
	maxHeadText = 200 // runes of a path or branch
	maxCommit   = 64  // hexadecimal digits of SHA-256
)

func parseHeads(out string) []Head {
	fields := strings.Split(out, "\x00")
	var all []Head
	for ; len(fields) > 3; fields = fields[3:] {
		if recent, ok := strings.CutPrefix(fields[0], "@"); ok {
			for i := range all {
				all[i].Recent = all[i].Path == clean(recent, maxHeadText)
			}
			continue
		}
		if name, ok := strings.CutPrefix(fields[0], "!"); ok {
			for i := range all {
				if all[i].Path == clean(name, maxHeadText) && (fields[1] == "clean" || fields[1] == "dirty") {
					all[i].State = fields[1]
				}
			}
			continue
		}
		h := Head{Path: clean(fields[0], maxHeadText)}
		if branch, ok := strings.CutPrefix(fields[1], "ref: refs/heads/"); ok {
			h.Branch = clean(branch, maxHeadText)
		}
		if isHex(fields[2]) {
			h.Commit = fields[2]
		}
		all = append(all, h)
	}
	return all
}

func isHex(s string) bool {
	return len(s) > 0 && len(s) <= maxCommit && strings.Trim(s, "0123456789abcdef") == ""
}
