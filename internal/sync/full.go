package sync

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/dustin/go-humanize"
)

// withoutLarge leaves out of this pass what is largest of what a round has not landed because the host's disk had no room,
// so that the rest lands. It returns false if that was not the matter, or nothing is left.
func (p *pass) withoutLarge(err error) bool {
	why := syscall.ENOSPC
	if errors.Is(err, syscall.EDQUOT) {
		why = syscall.EDQUOT
	}
	if !errors.Is(err, why) {
		return false
	}
	landed := map[string]bool{}
	for _, a := range p.report.Landed {
		landed[a.Name] = true
	}
	left := slices.DeleteFunc(slices.Clone(p.todo), func(it Item) bool { return landed[it.Name] })
	if len(left) == 0 {
		return false
	}
	_ = p.dest.RemoveAll(stagingDir) // what was left there for another time is in the way of the rest
	most := slices.MaxFunc(left, func(a, b Item) int { return cmp.Compare(a.Size, b.Size) })
	if p.full == nil { // why, not the error of the pass: several files may have met it
		p.full = fmt.Errorf("there is no room for %s (%s): %w", display(most.Name), humanize.Bytes(uint64(most.Size)), why)
	}
	for _, it := range left {
		p.tries[it.Name]--
		if it.Size >= most.Size/4 { // so that few rounds are enough however many there are
			p.large[key{it.Name, it.Source}] = true
		}
	}
	return true
}
