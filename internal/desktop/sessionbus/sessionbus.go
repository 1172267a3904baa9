// Package sessionbus finds the D-Bus session bus of the desktop and what is on it. It never starts one: on a machine
// without a desktop there is none, and CALMenu says so.
package sessionbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/godbus/dbus/v5"
)

// ErrNone says that there is no session bus.
var ErrNone = errors.New("no D-Bus session bus")

const (
	watcher     = "org.kde.StatusNotifierWatcher"
	watcherPath = dbus.ObjectPath("/StatusNotifierWatcher")
)

// Address returns the address of the session bus by the environment, or "" if there is none.
func Address(env func(string) string) string {
	if a := env("DBUS_SESSION_BUS_ADDRESS"); a != "" && a != "autolaunch:" {
		return a
	}
	if dir := env("XDG_RUNTIME_DIR"); dir != "" {
		socket := filepath.Join(dir, "bus")
		if fi, err := os.Stat(socket); err == nil && fi.Mode()&os.ModeSocket != 0 {
			return "unix:path=" + dbus.EscapeBusAddressValue(socket)
		}
	}
	return ""
}

// Connect returns a connection of its own to the session bus; ctx bounds the connecting and the life of the connection.
func Connect(ctx context.Context, env func(string) string) (*dbus.Conn, error) {
	address := Address(env)
	if address == "" {
		return nil, ErrNone
	}
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("connecting to the D-Bus session bus: %w", err)
	}
	return conn, nil
}

// TrayHost says whether a panel on the session bus shows status icons, and if not, why.
func TrayHost(ctx context.Context, env func(string) string) (bool, string) {
	conn, err := Connect(ctx, env)
	if err != nil {
		return false, err.Error()
	}
	defer conn.Close()
	var owned bool
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, watcher).Store(&owned); err != nil {
		return false, fmt.Sprintf("asking the D-Bus session bus for a tray: %v", err)
	}
	if !owned {
		return false, "no panel with a status tray is running (" + watcher + " is not on the session bus)"
	}
	hosted, err := conn.Object(watcher, watcherPath).GetProperty(watcher + ".IsStatusNotifierHostRegistered")
	if shown, isBool := hosted.Value().(bool); err == nil && isBool && !shown {
		return false, "no panel shows status icons yet"
	}
	return true, ""
}
