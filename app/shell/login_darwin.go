package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/hint"
)

// loginSettings is where a person allows what was switched off.
const loginSettings = "Look at System Settings > General > Login Items."

var errNoService = errors.New("asking for the login item: this program has none of its own")

// StartsAtLogin asks macOS whether CALMenu is started at login.
func StartsAtLogin() state.LoginItem {
	m, err := newMacLogin()
	if err != nil {
		return state.LoginUnavailable
	}
	return m.state()
}

// SetStartAtLogin has macOS start CALMenu at login, or no longer.
func SetStartAtLogin(on bool) error {
	m, err := newMacLogin()
	if err == nil {
		err = m.set(on)
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("changing the login item: %w", err), loginSettings)
	}
	return nil
}

// approveLogin shows where the person allows it: macOS lets nobody else do so.
func approveLogin(ctx context.Context) error {
	err := exec.CommandContext(ctx, "/usr/bin/open", "x-apple.systempreferences:com.apple.LoginItems-Settings.extension").Run()
	if err != nil {
		return hint.Wrap(fmt.Errorf("opening System Settings: %w", err), loginSettings)
	}
	return nil
}

func newMacLogin() (macLogin, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return macLogin{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return macLogin{}, err
	}
	m := macLogin{agent: launchAgent{
		folder: filepath.Join(home, "Library", "LaunchAgents"), program: program, uid: os.Getuid(), job: os.Getenv("XPC_SERVICE_NAME"),
		run: func(ctx context.Context, argv ...string) ([]byte, error) {
			return exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		},
	}}
	if bundled() {
		m.service = serviceManagement{}
	}
	return m, nil
}

// serviceManagement is the application's login item as SMAppService has it (macOS 13).
type serviceManagement struct{}
