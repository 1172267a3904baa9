package menu

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/sign"
	"github.com/calmenu/calmenu/internal/statusicon"
)

// artifactsItem is what has landed, what did not and why, and what can be done about it.
func artifactsItem(s state.State, w state.Workspace) statusicon.Item {
	art := statusicon.Item{Title: "Artifacts"}
	toSign := statusicon.Item{Title: "Sign"}
	seen := map[string]bool{}
	for _, a := range w.Artifacts {
		name := filepath.Base(a.Path)
		title := fmt.Sprintf("%s (%s, %s)", name, size(a.Size), age(s.Time, a.Time))
		if len(a.Warnings) > 0 {
			title += clip(": "+a.Warnings[0], 70)
		}
		art.Children = append(art.Children, entry(title, Action{Reveal, w.Name, a.Path}))
		signed := strings.HasSuffix(strings.TrimSuffix(name, filepath.Ext(name)), "-signed")
		if sign.KindOf(name) != "" && !signed && !seen[a.Path] {
			seen[a.Path] = true
			toSign.Children = append(toSign.Children, busyAware(w, entry(name+"...", Action{Sign, w.Name, a.Path})))
		}
	}
	if len(w.Refused) > 0 && len(art.Children) > 0 {
		art.Children = append(art.Children, separator)
	}
	for _, r := range w.Refused {
		art.Children = append(art.Children, label(clip(fmt.Sprintf("Refused %s: %s", r.Name, r.Reason), 100)))
	}
	if len(art.Children) > 0 {
		art.Children = append(art.Children, separator)
	}
	if len(toSign.Children) > 0 {
		art.Children = append(art.Children, toSign)
	}
	art.Children = append(art.Children, entry("Open output folder", Action{OpenOutput, w.Name, ""}))
	return art
}
