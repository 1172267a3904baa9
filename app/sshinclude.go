package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/hint"
)

// maxSSHConfig bounds what is taken for a person's ssh configuration.
const maxSSHConfig = 4 << 20

// includeLine is what makes ssh(1) read our file, without its newline.
func (a *App) includeLine() (string, error) {
	file := a.SSHConfigFile()
	if strings.ContainsAny(file, "*?[]{}%$") { // patterns and tokens to some versions of ssh
		return "", hint.Errorf("Set CAL_HOME to a directory without these characters.",
			"ssh cannot include %q: its name has one of * ? [ ] { } %% $", file)
	}
	word, err := sshWord(file)
	if err != nil {
		return "", err
	}
	return "Include " + word, nil
}

// InstallSSHInclude makes ~/.ssh/config read our file, and tells whether it did not before. Everything else in it stays as
// it is, to the byte.
func (a *App) InstallSSHInclude() (file string, changed bool, err error) {
	line, err := a.includeLine()
	if err != nil {
		return "", false, err
	}
	return editSSHConfig(func(text string) string {
		if strings.HasPrefix(text, line+"\n") {
			return text
		}
		// Below a Host or Match it would count for some hosts only.
		return line + "\n" + withoutLine(text, line)
	}, true)
}

// RemoveSSHInclude takes back what InstallSSHInclude did, and tells whether there was anything to take back.
func (a *App) RemoveSSHInclude() (file string, changed bool, err error) {
	line, err := a.includeLine()
	if err != nil {
		return "", false, err
	}
	return editSSHConfig(func(text string) string { return withoutLine(text, line) }, false)
}

func withoutLine(text, line string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		if strings.TrimRight(l, "\r\n") != line {
			b.WriteString(l)
		}
	}
	return b.String()
}

// editSSHConfig changes ~/.ssh/config as a whole or not at all. A link stays a link: what it leads to is changed.
func editSSHConfig(edit func(string) string, create bool) (string, bool, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", false, fmt.Errorf("finding the home directory: %w", err)
	}
	file := filepath.Join(home, ".ssh", "config")
	fail := func(err error) (string, bool, error) {
		return file, false, hint.Wrap(fmt.Errorf("changing %s: %w", file, err),
			"Edit it yourself: CALMenu ssh-config --print shows the line that belongs at its top.")
	}
	target, mode, old, err := readSSHConfig(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, lerr := os.Lstat(file); lerr == nil {
			return fail(errors.New("it is a link that leads nowhere"))
		}
		if !create {
			return file, false, nil
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return fail(err)
		}
		target, mode, err = file, 0o600, nil
	}
	if err != nil {
		return fail(err)
	}
	text := edit(old)
	if text == old {
		return file, false, nil
	}
	if err := atomicfile.Write(target, []byte(text), mode); err != nil {
		return fail(err)
	}
	return file, true, nil
}

// readSSHConfig returns where a file really is, its mode and its content. One that may not be written is an error, though
// it could be replaced: somebody wants it to stay.
func readSSHConfig(file string) (target string, mode fs.FileMode, text string, err error) {
	if target, err = filepath.EvalSymlinks(file); err != nil {
		return "", 0, "", err
	}
	info, err := os.Stat(target)
	if err != nil {
		return "", 0, "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSSHConfig {
		return "", 0, "", errors.New("it is no ordinary file")
	}
	if info.Mode().Perm()&0o200 == 0 {
		return "", 0, "", errors.New("it is read-only")
	}
	f, err := os.OpenFile(target, os.O_WRONLY, 0)
	if err != nil {
		return "", 0, "", err
	}
	if err := f.Close(); err != nil {
		return "", 0, "", err
	}
	data, err := os.ReadFile(target)
	return target, info.Mode().Perm(), string(data), err
}
