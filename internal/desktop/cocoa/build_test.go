package cocoa

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
)

func TestCheckBuild(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings []debug.BuildSetting
		ok       bool
	}{
		{"as the Makefile builds", []debug.BuildSetting{
			{Key: "-buildmode", Value: "exe"},
			{Key: "-gcflags", Value: "all=-d=variablemakehash=qn"},
			{Key: "CGO_ENABLED", Value: "1"},
		}, true},
		{"go install", []debug.BuildSetting{{Key: "CGO_ENABLED", Value: "1"}}, false},
		{"the flag for the main package alone", []debug.BuildSetting{{Key: "-gcflags", Value: "-d=variablemakehash=qn"}}, false},
		{"other flags", []debug.BuildSetting{{Key: "-gcflags", Value: "all=-N -l"}}, false},
		{"the flag for the linker", []debug.BuildSetting{{Key: "-ldflags", Value: "all=-d=variablemakehash=qn"}}, false},
		{"no build information", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckSettings(tt.settings)
			if (err == nil) != tt.ok {
				t.Fatalf("CheckSettings = %v, want ok %v", err, tt.ok)
			}
			if err != nil && !strings.Contains(hint.Of(err), "make app") {
				t.Errorf("hint is %q, want the way to build it", hint.Of(err))
			}
		})
	}
}
