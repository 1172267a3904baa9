package desktop

import (
	"slices"
	"testing"
)

func TestTheWindowOfASessionIsFound(t *testing.T) {
	windows := []shown{
		{1, 10, "CAL demo │ Shell"},
		{2, 20, "mail"},
		{8, 0, "far away"},
		{9, 0, "CAL farther │ Shell"},
		{3, 30, "CAL zoo │ Shell"},
		{4, 30, "CAL demo │ Codex"},
		{5, 30, "editor"},
		{6, 0, "CALMenu: far"},
		{7, 30, "CAL zoo │ Shell"},
	}
	cases := []struct {
		name      string
		ancestors []int
		title     string
		want      uint32
	}{
		{"by its process", []int{9, 20, 10}, "", 2},
		{"the nearest process above it counts", []int{9, 10, 20}, "", 1},
		{"a window that is called as another's is not believed", []int{9, 20}, "demo", 2},
		{"of several by its title", []int{9, 30}, "demo", 4},
		{"of several called so the topmost", []int{9, 30}, "zoo", 7},
		{"of several called otherwise the topmost", []int{9, 30}, "nothing", 7},
		{"by its title alone", []int{9}, "demo", 4},
		{"by the title it was opened with", nil, "far", 6},
		{"no such process, no such title", []int{9}, "nothing", 0},
		{"nothing to go by", nil, "", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, ok := pick(windows, c.ancestors, c.title)
			if got != c.want || ok != (c.want != 0) {
				t.Errorf("window %d (%v), want %d", got, ok, c.want)
			}
		})
	}
}

func TestAncestorsEnd(t *testing.T) {
	parents := map[int]int{7: 5, 5: 3, 3: 1, 20: 21, 21: 20}
	for pid, want := range map[int][]int{7: {7, 5, 3}, 20: {20, 21}, 0: nil, 1: nil, 99: {99}} {
		if got := ancestors(pid, func(p int) int { return parents[p] }); !slices.Equal(got, want) {
			t.Errorf("above %d: %v, want %v", pid, got, want)
		}
	}
	if got := ancestors(1000, func(p int) int { return p + 1 }); len(got) > 100 {
		t.Errorf("%d ancestors", len(got))
	}
}
