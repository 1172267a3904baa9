package shell

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/lazyre"
)

// label is the launch agent's name, and the application's.
const label = "io.github.calmenu.CALMenu"

// service is macOS' own login item of an application (SMAppService).
type service interface {
	state() (state.LoginItem, error)
	set(on bool) error
}

// macLogin is CALMenu's login item on macOS: the application's own, and where macOS has none for it (a program outside of an
// application, a refusal) a launch agent.
type macLogin struct {
	service service // nil outside of an application
	agent   launchAgent
}

func (m macLogin) state() state.LoginItem {
	agent := m.agent.state()
	if agent != state.LoginOff || m.service == nil {
		return agent
	}
	s, err := m.service.state()
	if err != nil {
		return agent
	}
	return s
}

func (m macLogin) set(on bool) error {
	if m.service == nil {
		return m.agent.set(on)
	}
	err := m.service.set(on)
	if err == nil || !on {
		return errors.Join(err, m.agent.set(false)) // never both
	}
	if fallback := m.agent.set(true); fallback != nil {
		return errors.Join(err, fallback)
	}
	return nil
}

// launchAgent is a program that launchd starts at login.
type launchAgent struct {
	folder  string // ~/Library/LaunchAgents
	program string
	uid     int
	// job is the label of the job of launchd's that this process is (XPC_SERVICE_NAME).
	job string
	run func(ctx context.Context, argv ...string) ([]byte, error)
}

// launchctlTakes bounds a call of launchctl, which asks launchd and should be done at once.
const launchctlTakes = 5 * time.Second

// disabledLine is how launchctl print-disabled tells of what the person has switched off in System Settings.
var disabledLine = lazyre.New(`"` + regexp.QuoteMeta(label) + `" => (disabled|true)\b`)

func (l launchAgent) file() string   { return filepath.Join(l.folder, label+".plist") }
func (l launchAgent) domain() string { return "gui/" + strconv.Itoa(l.uid) }

func (l launchAgent) state() state.LoginItem {
	if _, err := os.Stat(l.file()); err != nil {
		return state.LoginOff
	}
	ctx, cancel := context.WithTimeout(context.Background(), launchctlTakes)
	defer cancel()
	out, err := l.run(ctx, "/bin/launchctl", "print-disabled", l.domain())
	if err == nil && disabledLine.Match(out) {
		return state.LoginNeedsApproval
	}
	return state.LoginOn
}

func (l launchAgent) set(on bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*launchctlTakes)
	defer cancel()
	_, err := os.Stat(l.file())
	there := err == nil
	if there && l.job != label {
		// What is loaded would stay loaded until logout. Not if this process is that job: launchd would end it.
		_, _ = l.run(ctx, "/bin/launchctl", "bootout", l.domain()+"/"+label)
	}
	if !on {
		if err := os.Remove(l.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the launch agent: %w", err)
		}
		return nil
	}
	text, err := l.plist()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.folder, 0o755); err != nil {
		return fmt.Errorf("writing the launch agent: %w", err)
	}
	if err := atomicfile.Write(l.file(), text, 0o644); err != nil {
		return fmt.Errorf("writing the launch agent: %w", err)
	}
	if l.job == label {
		return nil
	}
	// It is started at once as well, finds that CALMenu runs, and ends.
	if out, err := l.run(ctx, "/bin/launchctl", "bootstrap", l.domain(), l.file()); err != nil {
		return fmt.Errorf("loading the launch agent: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// plist describes the job: started at login, in a session with a menu bar, as a program a person waits for.
func (l launchAgent) plist() ([]byte, error) {
	var program bytes.Buffer
	if err := xml.EscapeText(&program, []byte(l.program)); err != nil {
		return nil, fmt.Errorf("writing the launch agent: %w", err)
	}
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>Label</key>
	<string>%s</string>
	<key>ProgramArguments</key>
	<array>
		<string>%s</string>
	</array>
	<key>RunAtLoad</key>
	<true/>
	<key>LimitLoadToSessionType</key>
	<string>Aqua</string>
	<key>ProcessType</key>
	<string>Interactive</string>
</dict>
</plist>
`, label, program.String()), nil
}
