package main

import (
	"fmt"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/sign"
)

// onMac says what a step needs where it cannot be done.
func onMac(m *sign.Mac, doing, program string) error {
	if m.GOOS == "darwin" {
		return nil
	}
	return hint.Wrap(fmt.Errorf("%s: %w: %s is a program of macOS", doing, sign.ErrNotMac, program),
		"Run it on a Mac, or push a version tag: the release workflow does it (docs/release.md).")
}
