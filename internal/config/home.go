package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
)

// Home is the directory everything of CALMenu on the host lives in: ~/.cal, or what CAL_HOME says.
type Home struct{ Dir string }

// Locate returns the home: $CAL_HOME made absolute, or .cal in the user's home directory. It does not create it.
func Locate() (Home, error) {
	dir := os.Getenv("CAL_HOME")
	if dir == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return Home{}, hint.Wrap(fmt.Errorf("finding the home directory: %w", err),
				"set CAL_HOME to the directory CALMenu may keep its files in")
		}
		dir = filepath.Join(user, ".cal")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Home{}, fmt.Errorf("making CAL_HOME %q absolute: %w", dir, err)
	}
	return Home{Dir: abs}, nil
}

// ConfigFile is config.yaml, the user's settings for all workspaces.
func (h Home) ConfigFile() string { return filepath.Join(h.Dir, "config.yaml") }

// WorkspacesDir holds one directory per workspace.
func (h Home) WorkspacesDir() string { return filepath.Join(h.Dir, "isolation", "vms") }

// WorkspaceDir is the directory of one workspace.
func (h Home) WorkspaceDir(name string) string { return filepath.Join(h.WorkspacesDir(), name) }

// VMFile is vm.yaml, the settings of one workspace.
func (h Home) VMFile(name string) string { return filepath.Join(h.WorkspaceDir(name), vmFileName) }

// LogsDir holds the log files.
func (h Home) LogsDir() string { return filepath.Join(h.Dir, "isolation", "logs") }

// JournalDir holds the event journal.
func (h Home) JournalDir() string { return filepath.Join(h.Dir, "isolation", "journal") }

// LocksDir holds lock files; they are empty and never removed.
func (h Home) LocksDir() string { return filepath.Join(h.Dir, "isolation", "locks") }

// ProxyLoginsFile says when a proxy's login in the keychain was changed last; it holds nothing of it.
func (h Home) ProxyLoginsFile() string { return filepath.Join(h.Dir, "isolation", "proxy-logins") }

// AgentsDir holds what is kept per agent.
func (h Home) AgentsDir() string { return filepath.Join(h.Dir, "agents") }

// Ensure makes the directories, readable by the user alone (0700). Directories that exist are left as they are.
func (h Home) Ensure() error {
	for _, dir := range []string{h.Dir, h.WorkspacesDir(), h.LogsDir(), h.JournalDir(), h.LocksDir(), h.AgentsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return hint.Wrap(fmt.Errorf("making %s: %w", dir, err),
				"make the directory writable, or set CAL_HOME to another one")
		}
	}
	return nil
}

var (
	nameRE       = lazyre.New(`^[a-z0-9][a-z0-9-]{0,39}$`)
	errName      = errors.New("must be 1 to 40 of a-z, 0-9 and -, and begin with a letter or digit")
	nameExpected = "1 to 40 of a-z, 0-9 and -, beginning with a letter or digit"
)

// checkName keeps the rule of vm.ValidName, which this lower room cannot import; a test keeps the two equal.
func checkName(name string) error {
	if !nameRE.MatchString(name) {
		return hint.Wrap(fmt.Errorf("invalid workspace name %q: %w", name, errName), "choose a name such as my-app")
	}
	return nil
}
