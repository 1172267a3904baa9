//go:build linux

package desktoptest

import (
	"context"
	"fmt"
	"image"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// xdotool runs xdotool and returns what it printed; failing (it finds no window) is for the caller to judge.
func (s *Session) xdotool(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.done, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "xdotool", args...)
	cmd.Env = s.env
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

func (s *Session) input(args ...string) {
	s.t.Helper()
	if out, err := s.xdotool(args...); err != nil {
		s.t.Fatalf("xdotool %q: %v: %s", args, err, out)
	}
}

// Move moves the mouse.
func (s *Session) Move(x, y int) {
	s.t.Helper()
	s.input("mousemove", strconv.Itoa(x), strconv.Itoa(y))
}

// Click moves the mouse and presses a button: 1 left, 2 middle, 3 right.
func (s *Session) Click(x, y, button int) {
	s.t.Helper()
	s.input("mousemove", strconv.Itoa(x), strconv.Itoa(y), "click", strconv.Itoa(button))
}

// Key presses a key or a combination as xdotool names them: "Return", "ctrl+c".
func (s *Session) Key(keys ...string) {
	s.t.Helper()
	s.input(append([]string{"key", "--clearmodifiers"}, keys...)...)
}

// Type types text into the window that has the focus.
func (s *Session) Type(text string) {
	s.t.Helper()
	s.input("type", "--clearmodifiers", "--delay", "15", "--", text)
}

// Window is one on the screen.
type Window struct {
	ID    string
	Title string
	Rect  image.Rectangle
}

// FindWindow returns a window whose title matches the regular expression.
func (s *Session) FindWindow(title string) (Window, bool) {
	return s.find("--name", title)
}

// FindClass returns a window whose class matches the regular expression: "Dunst", "Zenity", "Xfce4-terminal".
func (s *Session) FindClass(class string) (Window, bool) {
	return s.find("--class", class)
}

func (s *Session) find(by, pattern string) (Window, bool) {
	out, err := s.xdotool("search", "--onlyvisible", by, pattern)
	if err != nil {
		return Window{}, false
	}
	for id := range strings.FieldsSeq(out) {
		if w, ok := s.window(id); ok {
			return w, true
		}
	}
	return Window{}, false
}

// WaitForWindow waits for a window whose title matches the regular expression.
func (s *Session) WaitForWindow(title string, timeout time.Duration) Window {
	s.t.Helper()
	var w Window
	s.WaitFor(func() (ok bool) { w, ok = s.FindWindow(title); return ok }, timeout, fmt.Sprintf("a window %q", title))
	return w
}

// window reads a window's title and place; windows may be gone between being found and being looked at.
func (s *Session) window(id string) (Window, bool) {
	w := Window{ID: id}
	out, err := s.xdotool("getwindowgeometry", "--shell", id)
	if err != nil {
		return w, false
	}
	var x, y, width, height int
	for line := range strings.Lines(out) {
		for name, to := range map[string]*int{"X=": &x, "Y=": &y, "WIDTH=": &width, "HEIGHT=": &height} {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				if *to, err = strconv.Atoi(v); err != nil {
					return w, false
				}
			}
		}
	}
	w.Rect = image.Rect(x, y, x+width, y+height)
	w.Title, err = s.xdotool("getwindowname", id)
	return w, err == nil
}

// Focus gives a window the keyboard.
func (s *Session) Focus(w Window) {
	s.t.Helper()
	s.input("windowactivate", "--sync", w.ID)
}

// ActiveWindow returns the window that has the keyboard.
func (s *Session) ActiveWindow() (Window, bool) {
	id, err := s.xdotool("getactivewindow")
	if err != nil {
		return Window{}, false
	}
	return s.window(id)
}

// ClickNotification clicks the newest notification on the screen.
func (s *Session) ClickNotification() {
	s.t.Helper()
	var w Window
	s.WaitFor(func() (ok bool) { w, ok = s.FindClass("^Dunst$"); return ok }, patience, "a notification on the screen")
	s.Click(w.Rect.Min.X+w.Rect.Dx()/2, w.Rect.Min.Y+20, 1)
}

// popups returns the windows that lie on the root window without a window manager's frame: menus, notifications,
// tooltips.
func (s *Session) popups() map[string]bool {
	out, err := s.xdotool("search", "--onlyvisible", "--maxdepth", "1", "--class", ".*")
	all := map[string]bool{}
	if err == nil {
		for id := range strings.FieldsSeq(out) {
			all[id] = true
		}
	}
	return all
}
