package sync

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/calmenu/calmenu/internal/inspect"
)

// Names at the top of the destination that are ours. Everything else beginning with ".cal" is kept free as well.
const (
	stagingDir  = ".cal-staging"
	versionsDir = ".versions"
)

// checkName returns why a name of the guest's cannot be one on the host, or "".
func checkName(name string, l Limits) (reason string) {
	switch {
	case name == "":
		return "name is empty"
	case len(name) > maxPath:
		return fmt.Sprintf("name is longer than %d bytes", maxPath)
	case !utf8.ValidString(name):
		return "name is not valid UTF-8"
	}
	if strings.Count(name, "/") > l.MaxDepth {
		return fmt.Sprintf("lies below more than %d directories", l.MaxDepth)
	}
	first := true
	for e := range strings.SplitSeq(name, "/") {
		switch {
		case e == "":
			return "name has an empty element"
		case e == "." || e == "..":
			return fmt.Sprintf("name has the element %q", e)
		case len(e) > l.MaxName:
			return fmt.Sprintf("name has an element longer than %d bytes", l.MaxName)
		}
		if i := strings.IndexFunc(e, deceives); i >= 0 {
			r, _ := utf8.DecodeRuneInString(e[i:])
			return fmt.Sprintf("name has the control character %U", r)
		}
		if first && reserved(e) {
			return "name is reserved for CALMenu"
		}
		first = false
	}
	return ""
}

// deceives tells whether a character does something to the text around it: control characters, line and paragraph
// separators, direction overrides, and the invisible ones that some file systems drop. The two joiners are left, which
// scripts and emoji need.
func deceives(r rune) bool {
	switch {
	case r >= ' ' && r < '\u007f': // most
		return false
	case unicode.IsControl(r), r == '\u2028', r == '\u2029':
		return true
	case r == '\u200c', r == '\u200d':
		return false
	case unicode.Is(unicode.Bidi_Control, r), r == '\u200b', r == '\u2060', r == '\ufeff':
		return true
	case r >= '\u206a' && r <= '\u206f', r >= '\ufff9' && r <= '\ufffb':
		return true
	case r >= '\U000e0000' && r <= '\U000e007f': // tags
		return true
	}
	return unicode.Is(unicode.Noncharacter_Code_Point, r)
}

func reserved(first string) bool {
	key := clashKey(first)
	return key == versionsDir || strings.HasPrefix(key, ".cal")
}

// clashKey is equal for names that some file system of a host takes for one: by case, by normalisation, or by
// characters it ignores.
func clashKey(name string) string {
	ascii := true
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		return strings.ToLower(name)
	}
	name = strings.NewReplacer("\u200c", "", "\u200d", "").Replace(name)
	return norm.NFC.String(cases.Fold().String(norm.NFD.String(name)))
}

// Shown is what a report shows of a guest's name.
func Shown(name string) string { return display(name) }

// display makes a name of the guest's safe to show.
func display(name string) string { return inspect.Name(name) }

// bundleSuffixes are directories that are one thing to their user.
var bundleSuffixes = map[string]bool{".app": true, ".xcarchive": true, ".xcresult": true}

// bundleOf returns the outermost bundle that name is, or lies in, or "".
func bundleOf(name string) string {
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		ext := path.Ext(name[:i])
		if bundleSuffixes[strings.ToLower(ext)] && path.Base(name[:i]) != ext {
			return name[:i]
		}
	}
	return ""
}
