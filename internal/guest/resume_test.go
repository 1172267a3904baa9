package guest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRenew(t *testing.T) {
	s := startSSHD(t)
	s.program("sudo", `[ "$1" = -n ] && shift && exec "$@"`)
	s.program("date", `echo "$*" >`+s.dir+`/set`)
	s.program("cat", `/bin/cat >>`+s.dir+`/seed`)
	s.program("perl", `echo "$2" >`+s.dir+`/reseeded`)
	c := s.connect()
	now := time.Unix(1_700_000_000, 5)
	must(t, c.Renew(t.Context(), now, ""))
	said := func(name string) string {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		must(t, err)
		return string(b)
	}
	if got := said("set"); got != "-u -s @1700000000.000000005\n" {
		t.Errorf("clock was told %q", got)
	}
	if got := said("reseeded"); got != `open(my $r, ">", "/dev/random") and ioctl($r, 0x5207, 0)`+"\n" {
		t.Errorf("the kernel was told %q", got)
	}
	must(t, c.Renew(t.Context(), now, ""))
	if got := said("seed"); len(got) != 2*seedBytes || got[:seedBytes] == got[seedBytes:] {
		t.Errorf("given %d bytes, the same twice: %v", len(got), len(got) == 2*seedBytes)
	}

	// CALMenu's own program does it alone, and is not missed.
	s.program("helper", `echo "$*" >`+s.dir+`/renewed; /bin/cat >`+s.dir+`/own`)
	s.program("date", `exit 1`)
	must(t, c.Renew(t.Context(), now, "helper"))
	if got := said("renewed"); got != "renew 1700000000.000000005\n" || len(said("own")) != seedBytes {
		t.Errorf("the helper was told %q and given %d bytes", got, len(said("own")))
	}
	s.program("helper", `exit 1`)
	s.program("date", `echo "$*" >`+s.dir+`/set`)
	must(t, os.Remove(filepath.Join(s.dir, "set")))
	must(t, c.Renew(t.Context(), now, "helper"))
	if got := said("set"); got != "-u -s @1700000000.000000005\n" {
		t.Errorf("without a helper the clock was told %q", got)
	}

	s.program("date", `exit 1`)
	if err := c.Renew(t.Context(), now, ""); err == nil {
		t.Error("a clock that cannot be set is no error")
	}
	o := s.options()
	o.GuestOS = "darwin"
	mac, err := Connect(t.Context(), o)
	must(t, err)
	defer func() { _ = mac.Close() }()
	s.program("date", `echo "$*" >`+s.dir+`/set`)
	must(t, mac.Renew(t.Context(), now, ""))
	if got := said("set"); got != "-u 111422132023.20\n" {
		t.Errorf("macOS was told %q", got)
	}
}

func TestWriteOut(t *testing.T) {
	s := startSSHD(t)
	s.program("sync", `echo synced >>`+s.dir+`/disk`)
	c := s.connect()
	mine := errors.New("mine")
	err := c.WriteOut(t.Context(), func() error {
		if b, err := os.ReadFile(filepath.Join(s.dir, "disk")); err != nil || string(b) != "synced\n" {
			t.Errorf("when it is the time: %q, %v", b, err)
		}
		return mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("said %v", err)
	}
	s.program("sync", `exit 1`) // a guest that is wrecked
	did := false
	must(t, c.WriteOut(t.Context(), func() error { did = true; return nil }))
	if !did {
		t.Error("nothing was done")
	}
}
