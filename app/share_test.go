package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// TestShareNeedsADriverThatCan fails a start that asks for what there is not, with what to do.
func TestShareNeedsADriverThatCan(t *testing.T) {
	t.Setenv("CAL_OUTBOX_TRANSPORT", "share")
	a, _ := open(t)
	if err := a.New(t.Context(), "demo", nil, nil); err != nil {
		t.Fatal(err)
	}
	err := a.Start(t.Context(), "demo", nil)
	if !errors.Is(err, vm.ErrUnsupported) || !strings.Contains(hint.Of(err), "outbox.transport") {
		t.Errorf("%v: %s", err, hint.Of(err))
	}
}

// TestOutboxByShare brings in what lies in the folder that the running machine shares, and what the guest has once it
// shares none, whatever the settings say.
func TestOutboxByShare(t *testing.T) {
	t.Setenv("CAL_OUTBOX_TRANSPORT", "share")
	caps := vmtest.DefaultCapabilities()
	caps.Share = true
	a, d := openOn(t, vmtest.MemoryOptions{Capabilities: &caps})
	if err := a.New(t.Context(), "demo", nil, nil); err != nil {
		t.Fatal(err)
	}
	w, err := a.Workspace("demo")
	if err != nil {
		t.Fatal(err)
	}
	staging, err := a.ensureSharedOutbox(w)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Dir(staging)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into %s: %v, %v", filepath.Dir(staging), info, err)
	}
	if staging == a.outboxState("demo") || strings.HasPrefix(a.outboxState("demo"), staging) {
		t.Error("the guest could write the manifest")
	}
	files, err := a.seed(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), "demo", vm.StartOptions{Files: files, Outbox: staging}, nil); err != nil {
		t.Fatal(err)
	}
	guests := filepath.Join(d.Home("demo"), "output")
	for _, c := range []struct{ origin, dir string }{{"share", staging}, {"ssh", guests}} {
		if c.origin == "ssh" {
			d.SetExposure("demo", &vm.Exposure{Restricted: true, Evidence: "no share any more"})
		}
		if err := os.MkdirAll(c.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.dir, "by-"+c.origin), []byte(c.origin), 0o644); err != nil {
			t.Fatal(err)
		}
		var landed []outbox.Artifact
		for len(landed) == 0 && t.Context().Err() == nil { // it has to settle
			r, _, err := a.Sync(t.Context(), "demo", nil)
			if err != nil {
				t.Fatal(err)
			}
			landed = r.Landed
		}
		if len(landed) != 1 || landed[0].Name != "by-"+c.origin || landed[0].Origin != c.origin {
			t.Errorf("%+v, want it by %s", landed, c.origin)
		}
	}
}
