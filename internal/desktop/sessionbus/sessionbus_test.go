package sessionbus

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestAddress(t *testing.T) {
	dir, err := os.MkdirTemp("", "bus") // not t.TempDir: the path of a socket may have 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{}, ""},
		{map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:abstract=x"}, "unix:abstract=x"},
		// godbus would start a bus of its own for this one.
		{map[string]string{"DBUS_SESSION_BUS_ADDRESS": "autolaunch:"}, ""},
		{map[string]string{"XDG_RUNTIME_DIR": dir}, "unix:path=" + filepath.Join(dir, "bus")},
		{map[string]string{"XDG_RUNTIME_DIR": t.TempDir()}, ""},
	} {
		if got := Address(func(k string) string { return c.vars[k] }); got != c.want {
			t.Errorf("Address(%v) = %q, want %q", c.vars, got, c.want)
		}
	}
}
