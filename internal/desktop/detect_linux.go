package desktop

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/desktop/sessionbus"
)

// TrayAvailable says whether a panel shows status icons (org.kde.StatusNotifierWatcher is on the session bus), and if
// not, why.
func TrayAvailable(ctx context.Context) (bool, string) { return sessionbus.TrayHost(ctx, os.Getenv) }

// Detect returns the desktop that the environment names. Where there is none that CALMenu can live in (no display, no
// session bus, no tray) it returns nil and the reason, and CALMenu runs headless.
func Detect(env func(string) string, opts ...Option) (Desktop, string) {
	if env("DISPLAY") == "" && env("WAYLAND_DISPLAY") == "" {
		return nil, "no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if ok, why := sessionbus.TrayHost(ctx, env); !ok {
		return nil, why
	}
	return newLinux(env, opts...), ""
}

// describe names the desktop by the variables of the XDG desktop entry and login conventions.
func describe(env func(string) string) string {
	name := strings.ReplaceAll(env("XDG_CURRENT_DESKTOP"), ":", " ")
	if name == "" {
		name = "desktop"
	}
	server := "X11"
	if env("WAYLAND_DISPLAY") != "" {
		server = "Wayland"
	}
	return fmt.Sprintf("%s on %s", name, server)
}
