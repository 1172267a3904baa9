package sync

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// quarantine marks a file as one that came from elsewhere, as a browser does with a download: Gatekeeper looks at it
// before it runs. Flags 0081: downloaded, not yet approved by the user.
func quarantine(f *os.File, agent string) error {
	if agent == "" {
		agent = "CALMenu"
	}
	agent = strings.Map(func(r rune) rune {
		if r == ';' || r < ' ' {
			return '_'
		}
		return r
	}, agent)
	value := fmt.Sprintf("0081;%08x;%s;", time.Now().Unix(), agent)
	return unix.Fsetxattr(int(f.Fd()), "com.apple.quarantine", []byte(value), 0)
}
