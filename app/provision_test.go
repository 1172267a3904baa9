package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// guestRow is what doctor says of the guest of "demo".
func guestRow(t *testing.T, a *App) vm.Requirement {
	t.Helper()
	for _, r := range a.Doctor(t.Context()) {
		if r.Name == "guest of demo" {
			return r
		}
	}
	return vm.Requirement{}
}

// writable makes a step of the guest's setup impossible, or possible again.
func writable(t *testing.T, d interface{ Home(string) string }, file string, yes bool) {
	t.Helper()
	file = filepath.Join(d.Home("demo"), file)
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	if !yes {
		if err := os.MkdirAll(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartSetsTheGuestUpAndDoctorTellsWhetherItStillIs(t *testing.T) {
	a, d := demo(t)
	config := filepath.Join(d.Home("demo"), ".root/etc/ssh/sshd_config.d/000-calmenu.conf")
	if b, err := os.ReadFile(config); err != nil || !strings.Contains(string(b), "PasswordAuthentication no") {
		t.Errorf("sshd is told %q, %v", b, err)
	}
	if r := guestRow(t, a); !r.OK || r.Detail != "set up: 8 of 8 steps hold" {
		t.Errorf("doctor after the start: %+v", r)
	}
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	r := guestRow(t, a)
	if r.OK || !r.Optional || !strings.Contains(r.Detail, "keys-only (") || !strings.Contains(r.Hint, "restart demo") {
		t.Errorf("doctor after the guest undid a step: %+v", r)
	}
	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if r := guestRow(t, a); r.Name != "" {
		t.Errorf("doctor of a guest that does not run: %+v", r)
	}
	if err := a.Start(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(config); err != nil {
		t.Errorf("another start does not set up anew: %v", err)
	}
}

func TestAStartThatCannotSetTheGuestUpSaysWhichStep(t *testing.T) {
	a, d := demo(t)
	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(d.Home("demo"), ".root")); err != nil {
		t.Fatal(err)
	}
	writable(t, d, ".root/etc/ssh/sshd_config.d/000-calmenu.conf", false)
	var phases []string
	err := a.Start(t.Context(), "demo", func(p vm.Phase) { phases = append(phases, p.Name) })
	if err == nil || !strings.Contains(err.Error(), "setting up the guest: turning password log-in off: ") ||
		strings.Contains(err.Error(), "\n") || !strings.Contains(hint.Of(err), "restart demo") {
		t.Errorf("start: %v, hint %q", err, hint.Of(err))
	}
	const phase = "setting up the guest: turning password log-in off (2 of 8)"
	if all := strings.Join(phases, "\n"); !strings.Contains(all, phase) {
		t.Errorf("phases:\n%s", all)
	}
	writable(t, d, ".root/etc/ssh/sshd_config.d/000-calmenu.conf", true)
	if err := a.Start(t.Context(), "demo", nil); err != nil {
		t.Errorf("after the obstacle is gone: %v", err)
	}
}

func TestHostTimezone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for target, want := range map[string]string{
		"/usr/share/zoneinfo/Europe/Berlin":                    "Europe/Berlin",
		"/var/db/timezone/zoneinfo/America/Argentina/Ushuaia":  "America/Argentina/Ushuaia",
		"../usr/share/zoneinfo/Etc/UTC":                        "UTC",
		"/usr/share/zoneinfo/Etc/GMT+5":                        "Etc/GMT+5",
		"/usr/share/zoneinfo/Europe/Berlin'; rm -rf /; echo '": "UTC",
		"/usr/share/zoneinfo/../../../etc/passwd":              "UTC",
		"elsewhere": "UTC",
	} {
		link := filepath.Join(dir, "link")
		_ = os.Remove(link)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if got := hostTimezone(link); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	if got := hostTimezone(filepath.Join(dir, "none")); got != "UTC" {
		t.Errorf("without a link: %q", got)
	}
}
