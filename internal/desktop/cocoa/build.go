package cocoa

import (
	"runtime/debug"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
)

// safeFlag is the compiler flag without which darwinkit v0.5.0 hands C pointers to the stack of a goroutine, on Go 1.25
// and newer: https://github.com/progrium/darwinkit/issues/286. It switches that stack allocation off.
const safeFlag = "-d=variablemakehash=qn"

// CheckBuild says whether this program was compiled so that Cocoa can be called safely, as an error if not.
func CheckBuild() error {
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		bi = &debug.BuildInfo{}
	}
	return CheckSettings(bi.Settings)
}

// CheckSettings says the same of a program with these build settings.
func CheckSettings(settings []debug.BuildSetting) error {
	for _, s := range settings {
		// Only all= reaches the packages in which darwinkit's generic calls are compiled.
		if s.Key == "-gcflags" && strings.Contains(s.Value, "all="+safeFlag) {
			return nil
		}
	}
	return hint.Errorf("Build it with `make app`, or add -gcflags=all="+safeFlag+" to go build.",
		"starting the menu bar: this program was compiled without the flag that keeps calls into macOS from crashing")
}
