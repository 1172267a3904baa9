package app

import "testing"

func TestBundled(t *testing.T) {
	const inside = "/Applications/CALMenu.app/Contents/MacOS/CALMenu"
	for _, tt := range []struct {
		started, real string
		again         bool
	}{
		{"/opt/homebrew/bin/CALMenu", inside, true},
		{inside, inside, false},
		{"/Applications/Link.app/Contents/MacOS/CALMenu", inside, false},
		{"/home/me/build/CALMenu", "/home/me/build/CALMenu", false},
		{"/usr/local/bin/CALMenu", "/usr/local/lib/calmenu/CALMenu", false},
	} {
		if program, again := Bundled(tt.started, tt.real); again != tt.again || program != tt.real {
			t.Errorf("%s, which is %s: %q, %v", tt.started, tt.real, program, again)
		}
	}
}
