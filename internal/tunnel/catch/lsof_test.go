package catch

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// TestLsof: a real lsof is asked, and understood, as macOS's is: who listens on the loopback's ports, and nobody else.
func TestLsof(t *testing.T) {
	if _, err := exec.LookPath("lsof"); err != nil {
		t.Skip("needs lsof")
	}
	ask := func(ports ...uint16) []listener {
		t.Helper()
		out, err := exec.Command("lsof", lsofArgs(ports)...).Output()
		found, perr := lsofListeners(string(out))
		must(t, perr)
		if (err == nil) != (len(found) > 0) {
			t.Errorf("lsof: %v, %q", err, out)
		}
		return found
	}
	var ports []uint16
	for range 2 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		ports = append(ports, uint16(l.Addr().(*net.TCPAddr).Port))
	}
	conn, err := net.Dial("tcp4", netip.AddrPortFrom(loopback, ports[0]).String())
	must(t, err)
	defer conn.Close()
	name, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	us := listener{os.Getpid(), string(name[:len(name)-1])}
	if got := ask(ports...); !slices.Equal(got, []listener{us}) {
		t.Errorf("both ports: %v, not %v", got, us)
	}
	if got := ask(uint16(conn.LocalAddr().(*net.TCPAddr).Port)); len(got) > 0 {
		t.Errorf("a port that nobody listens on: %v", got)
	}
	if _, err := lsofListeners("pmany\n"); err == nil {
		t.Error("no number")
	}
}
