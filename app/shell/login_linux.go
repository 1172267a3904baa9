package shell

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/app/state"
	"github.com/calmenu/calmenu/internal/atomicfile"
)

// loginSettings is where a person allows what was switched off.
const loginSettings = "Choose Start at Login in the menu, or switch CALMenu on in the desktop's settings for autostart."

// approveLogin writes the entry anew: the click is the person's word.
func approveLogin(context.Context) error { return SetStartAtLogin(true) }

// StartsAtLogin says whether the desktop starts CALMenu at login (XDG Desktop Application Autostart Specification).
func StartsAtLogin() state.LoginItem {
	path, err := autostartFile()
	if err != nil {
		return state.LoginUnavailable
	}
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return state.LoginOff
	case strings.Contains(string(text), "\nHidden=true"): // what desktops write when a person switches the entry off
		return state.LoginNeedsApproval
	}
	return state.LoginOn
}

// SetStartAtLogin has the desktop start this program at login, or no longer.
func SetStartAtLogin(on bool) error {
	path, err := autostartFile()
	if err != nil {
		return fmt.Errorf("changing the login item: %w", err)
	}
	if !on {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("changing the login item: %w", err)
		}
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("changing the login item: %w", err)
	}
	entry, err := autostartEntry(program)
	if err != nil {
		return fmt.Errorf("changing the login item: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("changing the login item: %w", err)
	}
	if err := atomicfile.Write(path, []byte(entry), 0o644); err != nil {
		return fmt.Errorf("changing the login item: %w", err)
	}
	return nil
}

func autostartFile() (string, error) {
	config, err := os.UserConfigDir() // $XDG_CONFIG_HOME or ~/.config
	if err != nil {
		return "", err
	}
	return filepath.Join(config, "autostart", "calmenu.desktop"), nil
}

// autostartEntry returns a desktop entry that starts program without arguments.
func autostartEntry(program string) (string, error) {
	if strings.ContainsFunc(program, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("the program's path %q holds a control character", program)
	}
	// Exec is quoted twice (Desktop Entry Specification, "The Exec key"): as an argument, and as a string value. A
	// percent sign would begin a field code.
	argument := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", "$", `\$`, "%", "%%").Replace(program)
	value := strings.ReplaceAll(`"`+argument+`"`, `\`, `\\`)
	return "[Desktop Entry]\nType=Application\nName=CALMenu\nComment=AI coding agents in isolated virtual machines\n" +
		"Exec=" + value + "\nTerminal=false\nX-GNOME-Autostart-enabled=true\n", nil
}
