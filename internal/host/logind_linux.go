package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/godbus/dbus/v5"
)

const (
	login1     = "org.freedesktop.login1"
	login1Path = dbus.ObjectPath("/org/freedesktop/login1")
	manager    = login1 + ".Manager"
)

// systemBus returns a connection of its own to the system bus; ctx bounds the connecting and the connection's life.
func systemBus(ctx context.Context, env func(string) string) (*dbus.Conn, error) {
	address := env("DBUS_SYSTEM_BUS_ADDRESS")
	if address == "" {
		const socket = "/run/dbus/system_bus_socket"
		if _, err := os.Stat(socket); err != nil {
			return nil, fmt.Errorf("connecting to the D-Bus system bus: %w", err)
		}
		address = "unix:path=" + socket
	}
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("connecting to the D-Bus system bus: %w", err)
	}
	return conn, nil
}

// watchSystem tells of the sleeps and wakes that logind announces.
func watchSystem(ctx context.Context, env func(string) string, tell func(Event)) error {
	conn, err := systemBus(ctx, env)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(login1), dbus.WithMatchObjectPath(login1Path),
		dbus.WithMatchInterface(manager), dbus.WithMatchMember("PrepareForSleep"))
	if err != nil {
		return fmt.Errorf("listening for logind's announcements: %w", err)
	}
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals) // closed with the connection
	for {
		select {
		case s, open := <-signals:
			if !open {
				return errors.New("listening for logind's announcements: the D-Bus system bus went away")
			}
			var begins bool
			if s.Name != manager+".PrepareForSleep" || dbus.Store(s.Body, &begins) != nil {
				continue
			}
			if begins {
				tell(WillSleep)
			} else {
				tell(DidWake)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// KeepAwake asks logind not to sleep because nobody is at the computer, until release is called. The person can still
// send it to sleep. why is shown by `systemd-inhibit --list`.
func KeepAwake(ctx context.Context, env func(string) string, why string) (release func(), err error) {
	conn, err := systemBus(ctx, env)
	if err != nil {
		return nil, fmt.Errorf("keeping the computer awake: %w", err)
	}
	defer conn.Close()
	var lock dbus.UnixFD
	err = conn.Object(login1, login1Path).CallWithContext(ctx, manager+".Inhibit", 0, "idle", "CALMenu", why, "block").
		Store(&lock)
	if err != nil {
		return nil, fmt.Errorf("keeping the computer awake: %w", err)
	}
	f := os.NewFile(uintptr(lock), "inhibit") // logind's lock lasts for as long as this is open
	return sync.OnceFunc(func() { _ = f.Close() }), nil
}
