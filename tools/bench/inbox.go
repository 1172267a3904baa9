package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

const (
	notifyName  = "org.freedesktop.Notifications"
	notifyPath  = dbus.ObjectPath("/org/freedesktop/Notifications")
	watcherName = "org.kde.StatusNotifierWatcher"
	watcherPath = dbus.ObjectPath("/StatusNotifierWatcher")
)

// inbox is as little of a desktop as an agent needs: a private session bus with a tray that shows nothing and a
// notification service that notes when what came.
type inbox struct {
	address string
	daemon  *exec.Cmd
	bus     *dbus.Conn
	came    chan notification
}

type notification struct {
	at   time.Time
	text string
}

// newInbox starts a bus. It ends with ctx or close.
func newInbox(ctx context.Context) (*inbox, error) {
	d := &inbox{came: make(chan notification, 1000)}
	d.daemon = exec.CommandContext(ctx, "dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1")
	said, err := d.daemon.StdoutPipe()
	if err == nil {
		err = d.daemon.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting a D-Bus of its own: %w", err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err == nil {
		d.address = strings.TrimSpace(line)
		err = d.serve(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a D-Bus of its own: %w", err), d.close())
	}
	return d, nil
}

func (d *inbox) serve(ctx context.Context) error {
	var err error
	if d.bus, err = dbus.Connect(d.address, dbus.WithContext(ctx)); err != nil {
		return err
	}
	if err := d.bus.Export(notifications{d.came}, notifyPath, notifyName); err != nil {
		return err
	}
	if err := d.bus.Export(tray{}, watcherPath, watcherName); err != nil {
		return err
	}
	_, err = prop.Export(d.bus, watcherPath, prop.Map{watcherName: {
		"IsStatusNotifierHostRegistered": {Value: true},
		"ProtocolVersion":                {Value: int32(0)},
	}})
	if err != nil {
		return err
	}
	for _, name := range []string{notifyName, watcherName} {
		if reply, err := d.bus.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
			return fmt.Errorf("taking the name %s: %w", name, errors.Join(err, os.ErrExist))
		}
	}
	return nil
}

// await returns when the notification that names something came. Those before it are dropped.
func (d *inbox) await(ctx context.Context, name string) (time.Time, error) {
	for {
		select {
		case n := <-d.came:
			if strings.Contains(n.text, name) {
				return n.at, nil
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for a notification of %s: %w", name, context.Cause(ctx))
		}
	}
}

func (d *inbox) close() error {
	if d.bus != nil {
		_ = d.bus.Close() // its daemon ends now
	}
	err := d.daemon.Process.Kill()
	_ = d.daemon.Wait() // it was killed
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending the D-Bus: %w", err)
	}
	return nil
}

// notifications is the service of the Desktop Notifications Specification, version 1.2.
type notifications struct{ came chan<- notification }

// Notify is the specification's.
func (n notifications) Notify(_ string, _ uint32, _, title, body string, _ []string, _ map[string]dbus.Variant, _ int32) (
	uint32, *dbus.Error,
) {
	select {
	case n.came <- notification{time.Now(), title + ": " + body}:
	default: // nobody reads that many
	}
	return 1, nil
}

// GetCapabilities is the specification's.
func (notifications) GetCapabilities() ([]string, *dbus.Error) {
	return []string{"body", "actions"}, nil
}

// tray accepts icons and shows none.
type tray struct{}

// RegisterStatusNotifierItem is the StatusNotifierItem specification's.
func (tray) RegisterStatusNotifierItem(string) *dbus.Error { return nil }
