package cli

import (
	"testing"

	"github.com/calmenu/calmenu/app"
)

func TestUpdateLine(t *testing.T) {
	u := app.Update{Version: "1.2.0", URL: "https://github.com/calmenu/calmenu/releases/tag/v1.2.0", Newer: true}
	if got, want := updateLine("v1.1.0", u), "CALMenu 1.2.0 is available; this is v1.1.0.\n"+u.URL+"\n"; got != want {
		t.Errorf("said %q", got)
	}
	u.Newer = false
	if got, want := updateLine("v1.2.0", u), "CALMenu v1.2.0 is up to date; the newest release is 1.2.0.\n"; got != want {
		t.Errorf("said %q", got)
	}
}
