package desktop

import (
	"slices"
	"strings"
)

// shown is a window on the screen as far as Raise needs to know it.
type shown struct {
	id    uint32
	pid   int // of the program that owns it; 0 if it does not say
	title string
}

// pick returns the window w is in: that of the nearest of the processes above it (nearest first) that has any; of several
// the topmost that is called so, or else the topmost. What is in a title may come from a guest, so that only where no
// process has a window (one behind a terminal multiplexer's server, or on another host) the title alone is believed.
// windows are in stacking order, bottom first.
func pick(windows []shown, ancestors []int, title string) (uint32, bool) {
	called := func(x shown) bool {
		rest, marked := strings.CutPrefix(x.title, "CALMenu: ") // as it was opened
		if !marked {
			rest, marked = strings.CutPrefix(x.title, "CAL ") // as its console has called it since
		}
		return title != "" && marked && strings.HasPrefix(rest+" ", title+" ")
	}
	top := slices.Clone(windows)
	slices.Reverse(top)
	for _, pid := range ancestors {
		own := slices.DeleteFunc(slices.Clone(top), func(x shown) bool { return x.pid != pid })
		if len(own) == 0 {
			continue
		}
		if i := slices.IndexFunc(own, called); i >= 0 {
			return own[i].id, true
		}
		return own[0].id, true
	}
	if i := slices.IndexFunc(top, called); i >= 0 {
		return top[i].id, true
	}
	return 0, false
}

// ancestors returns a process and those above it, nearest first, without the system's first. parent tells the parent of a
// process, 0 if it has none.
func ancestors(pid int, parent func(int) int) []int {
	var all []int
	for pid > 1 && len(all) < 64 && !slices.Contains(all, pid) {
		all = append(all, pid)
		pid = parent(pid)
	}
	return all
}
