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

// Heads tells where the repositories in the guest's ~/workspace stand, without asking git. It is for the record: what a
// hostile guest says of itself is cut to size and made harmless, not made true.
func Heads(ctx context.Context, g Guest) ([]Head, error) {
	r, err := g.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", headsScript}, Limit: 256 << 10})
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
