package qemu

import (
	"net"
	"os"
	"slices"
	"testing"
)

// Both ways to ask the kernel tell the same, in both address families, of this process.
func TestListenersAreFound(t *testing.T) {
	var want []string
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("no listener on %s here: %v", address, err)
			continue
		}
		t.Cleanup(func() { _ = l.Close() })
		want = append(want, l.Addr().String())
	}
	slices.Sort(want)
	got, err := listeners(os.Getpid())
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("listeners: %q, %v, want %q", got, err, want)
	}
	inodes, err := socketInodes(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	got, err = listeningInTables(os.Getpid(), inodes)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("tables: %q, %v, want %q", got, err, want)
	}
}

func TestMalformedDiagnosis(t *testing.T) {
	if _, _, ok := diagnosed(make([]byte, diagMessageSize-1)); ok {
		t.Error("a short message was read")
	}
	if netlinkError(nil) == nil {
		t.Error("a short error is none")
	}
}
