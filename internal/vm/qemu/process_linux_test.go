package qemu

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFindProcessThatStandsStill: a QEMU that does not accept is found nevertheless, however often it is looked for.
func TestFindProcessThatStandsStill(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, runDir), 0o755); err != nil {
		t.Fatal(err)
	}
	run, err := os.Open(filepath.Join(dir, runDir))
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: socketAddress(run, socketFile)}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(socket, 1); err != nil {
		t.Fatal(err)
	}
	machine := exec.Command("sh", "-c", "read wait", "sh", "-qmp", monitorArg)
	machine.Dir = dir
	hold, err := machine.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		hold.Close()
		_ = machine.Wait()
	}()
	for look := range 4 {
		p, err := findProcess(t.Context(), dir)
		// As long as the queue has room it is the one that listens: this one.
		if err != nil || p.pid != os.Getpid() && p.pid != machine.Process.Pid {
			t.Errorf("look %d: found %d, %v", look, p.pid, err)
		}
		if look == 3 && p.pid != machine.Process.Pid {
			t.Errorf("the queue is not full yet: found %d", p.pid)
		}
	}
}
