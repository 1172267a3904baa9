package isolation

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
	"github.com/calmenu/calmenu/resources"
)

// sealed answers as a guest does that can reach nothing: what tries accounts for each attempt, and none gets through.
type sealed struct {
	silent bool
	helper string // what becomes of CALMenu's own program: it answers, or is missing or forgetful
}

func (s sealed) Output(_ context.Context, c guest.Cmd) (guest.Result, error) {
	if slices.Contains(c.Argv, "reach") {
		return s.reach(c.Argv)
	}
	if s.silent {
		return guest.Result{Exit: 127, Stderr: []byte("curl: not found\n"), Stdout: []byte("gateway 10.0.2.2\n")}, nil
	}
	var b strings.Builder
	b.WriteString("gateway 10.0.2.2\n")
	for _, a := range c.Argv {
		if strings.HasPrefix(a, "http://") && strings.Count(a, "/") > 3 {
			fmt.Fprintf(&b, "7 000 %s\n", strings.ReplaceAll(a, "GATEWAY", "10.0.2.2"))
		}
	}
	return guest.Result{Stdout: []byte(b.String())}, nil
}

func (s sealed) reach(argv []string) (guest.Result, error) {
	if s.silent || s.helper == "missing" {
		return guest.Result{Exit: 127, Stderr: []byte("no such file\n")}, nil
	}
	said := "gateway 10.0.2.2\n"
	for _, a := range argv[3:] {
		if strings.HasPrefix(a, "http://") {
			said += fmt.Sprintf("tried connection refused %s\n", strings.ReplaceAll(a, "GATEWAY", "10.0.2.2"))
		}
	}
	if s.helper == "forgetful" {
		said = said[:strings.LastIndex(strings.TrimSpace(said), "\n")+1]
	}
	return guest.Result{Stdout: []byte(said)}, nil
}

// What CALMenu's own program does not account for, curl must.
func TestTheHelperTriesWhereThereIsOne(t *testing.T) {
	for helper, by := range map[string]string{
		"answers": "connection refused", "missing": "curl exit 7, HTTP status 000", "forgetful": "curl exit 7, HTTP status 000",
	} {
		d, s := running(t)
		d.SetExposure("demo", sealedExposure())
		s.Helper, s.Guest = "calhelper", sealed{helper: helper}
		r := Run(t.Context(), s)
		got := outcome(t, r, "canary")
		if r.Level != Verified || got.Outcome != Pass {
			t.Errorf("%s: %s (%s)", helper, got.Outcome, got.Reason)
		}
		for _, how := range []string{"direct 127.0.0.1:", "direct 10.0.2.2:", "proxy 127.0.0.1:"} {
			if !strings.Contains(got.Evidence, how) {
				t.Errorf("%s: no evidence of %q: %s", helper, how, got.Evidence)
			}
		}
		for line := range strings.Lines(got.Evidence) {
			if !strings.HasSuffix(strings.TrimSpace(line), ": "+by) {
				t.Errorf("%s: %q", helper, line)
			}
		}
	}
}

func key(t *testing.T) ssh.PublicKey {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// running returns a driver with one running machine whose guest is an SSH server in this process, and what to check.
func running(t *testing.T) (*vmtest.Memory, *Subject) {
	t.Helper()
	d := vmtest.NewMemory(t, vmtest.MemoryOptions{})
	ctx := t.Context()
	id, err := guest.EnsureIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.EnsureImage(ctx, d.DefaultImage(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Create(ctx, vm.Spec{Name: "demo", CPU: 1, MemoryMiB: 512, DiskGiB: 4}, nil); err != nil {
		t.Fatal(err)
	}
	user := d.Info().Capabilities.User
	err = d.Start(ctx, "demo", vm.StartOptions{Files: []vm.SeedFile{
		{Path: "/etc/ssh/ssh_host_ed25519_key", Mode: 0o600, Data: id.HostKeyPEM()},
		{Path: "/home/" + user + "/.ssh/authorized_keys", Mode: 0o600, Data: id.AuthorizedKey()},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, &Subject{
		Driver: d, Name: "demo", Guest: sealed{}, User: user, HostKey: id.HostPublic(), Identity: id.Signer().PublicKey(),
		Proxy: "127.0.0.1:3128", AuthorizedKeys: []string{filepath.Join(t.TempDir(), "authorized_keys")},
	}
}

func outcome(t *testing.T, r Report, id string) Result {
	t.Helper()
	for _, x := range r.Results {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("no check %q in the report", id)
	return Result{}
}

func sealedExposure() *vm.Exposure {
	return &vm.Exposure{Restricted: true, Listeners: []string{"127.0.0.1:40022"}, Evidence: "qemu ... restrict=on"}
}

func TestVerifiedWhenEveryClaimHolds(t *testing.T) {
	d, s := running(t)
	d.SetExposure("demo", sealedExposure())
	r := Run(t.Context(), s)
	if r.Level != Verified || r.Passed() != len(checks) || r.PID == 0 {
		t.Errorf("level %s: %s\n%+v", r.Level, r.Reason, r.Results)
	}
}

func TestOneFailingOrUnevaluableClaimBreaksTheWhole(t *testing.T) {
	home := t.TempDir()
	cases := []struct {
		name, check string
		outcome     Outcome
		level       Level
		change      func(*vm.Exposure, *Subject)
	}{
		{"a shared folder", "shares", Fail, Broken, func(e *vm.Exposure, _ *Subject) {
			e.Shares = []vm.Share{{HostPath: "/home/me"}}
		}},
		{"the outbox alone", "shares", Pass, Verified, func(e *vm.Exposure, s *Subject) {
			s.Outbox = "/home/me/out"
			e.Shares = []vm.Share{{HostPath: "/home/me/out/"}}
		}},
		{"the outbox, served by root", "shares", Weak, Weakened, func(e *vm.Exposure, s *Subject) {
			s.Outbox = "/home/me/out"
			e.Shares = []vm.Share{{HostPath: "/home/me/out", ServedAsRoot: true}}
		}},
		{"the outbox, and another folder", "shares", Fail, Broken, func(e *vm.Exposure, s *Subject) {
			s.Outbox = "/home/me/out"
			e.Shares = []vm.Share{{HostPath: "/home/me/out", ServedAsRoot: true}, {HostPath: "/home/me"}}
		}},
		{"an open network", "network", Fail, Broken, func(e *vm.Exposure, _ *Subject) { e.Restricted = false }},
		{"root", "process", Fail, Broken, func(e *vm.Exposure, _ *Subject) { e.RunsAsRoot = true }},
		{"a port open to the world", "process", Fail, Broken, func(e *vm.Exposure, _ *Subject) {
			e.Listeners = []string{"0.0.0.0:22"}
		}},
		{"clipboard", "devices", Fail, Broken, func(e *vm.Exposure, _ *Subject) { e.Clipboard = true }},
		{"microphone", "devices", Fail, Broken, func(e *vm.Exposure, _ *Subject) { e.Audio = true }},
		{"another host key", "host-key", Fail, Broken, func(_ *vm.Exposure, s *Subject) { s.HostKey = key(t) }},
		{"no pinned key", "host-key", NoProof, Broken, func(_ *vm.Exposure, s *Subject) { s.HostKey = nil }},
		{"a guest without curl", "canary", NoProof, Broken, func(_ *vm.Exposure, s *Subject) { s.Guest = sealed{silent: true} }},
		{"no way into the guest", "canary", NoProof, Broken, func(_ *vm.Exposure, s *Subject) { s.Guest = nil }},
		{"a choice of the user", "choices", Weak, Weakened, func(_ *vm.Exposure, s *Subject) {
			s.Weakened = []string{"network.allow lets the guest reach *"}
		}},
		{"the guest's key opens the host", "keys", Fail, Broken, func(_ *vm.Exposure, s *Subject) {
			f := filepath.Join(home, "authorized_keys")
			line := append([]byte("from=\"10.0.2.15\" "), ssh.MarshalAuthorizedKey(s.Identity)...)
			if err := os.WriteFile(f, line, 0o600); err != nil {
				t.Fatal(err)
			}
			s.AuthorizedKeys = []string{f}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, s := running(t)
			e := sealedExposure()
			c.change(e, s)
			d.SetExposure("demo", e)
			r := Run(t.Context(), s)
			got := outcome(t, r, c.check)
			if got.Outcome != c.outcome || r.Level != c.level {
				t.Errorf("%s: %s (%s), level %s (%s); want %s, %s", c.check, got.Outcome, got.Reason, r.Level, r.Reason, c.outcome, c.level)
			}
			if got.Outcome != Pass && got.Reason == "" {
				t.Error("no reason given")
			}
		})
	}
}

func TestWhatCouldNotBeEvaluatedIsDueEarlier(t *testing.T) {
	at := time.Date(2026, 1, 17, 14, 30, 0, 0, time.UTC)
	due := func(o Outcome, every time.Duration) time.Duration {
		return Report{Time: at, Results: []Result{{Outcome: Pass}, {Outcome: o}}}.Due(every).Sub(at)
	}
	for _, o := range []Outcome{Pass, Fail} {
		if got := due(o, time.Minute); got != time.Minute {
			t.Errorf("%s: due after %v", o, got)
		}
	}
	if got := due(NoProof, time.Minute); got != againSoon {
		t.Errorf("no proof: due after %v", got)
	}
	if got := due(NoProof, time.Second); got != time.Second {
		t.Errorf("no proof, checked every second: due after %v", got)
	}
}

func TestAGuestThatReachesTheHostIsCaught(t *testing.T) {
	d, s := running(t)
	d.SetExposure("demo", sealedExposure())
	s.Guest = leaky{}
	caught := func(by string) {
		t.Helper()
		r := Run(t.Context(), s)
		got := outcome(t, r, "canary")
		if got.Outcome != Fail || r.Level != Broken || !strings.Contains(got.Evidence, by) {
			t.Errorf("canary: %s (%s), level %s: %s", got.Outcome, got.Reason, r.Level, got.Evidence)
		}
	}
	caught("curl exit 0")
	program, err := resources.CalHelper("linux")
	if err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skipf("CALMenu's own program is not built, or not for this system: %v", err)
	}
	s.Helper = filepath.Join(t.TempDir(), "calhelper")
	if err := os.WriteFile(s.Helper, program, 0o700); err != nil {
		t.Fatal(err)
	}
	caught(": HTTP status 200")
}

func TestAStoppedMachineProvesNothing(t *testing.T) {
	d, s := running(t)
	if err := d.Stop(t.Context(), "demo", vm.Shutdown{}); err != nil {
		t.Fatal(err)
	}
	if r := Run(t.Context(), s); r.Level != Broken {
		t.Errorf("level %s", r.Level)
	}
}

func TestReportsAreKeptAndDiscarded(t *testing.T) {
	dir := t.TempDir()
	if r, err := Load(dir); err != nil || r.Level != Unknown {
		t.Errorf("no report: %+v, %v", r, err)
	}
	want := Report{Workspace: "demo", Level: Weakened, Reason: "why", PID: 7}
	if err := Save(dir, want); err != nil {
		t.Fatal(err)
	}
	if r, err := Load(dir); err != nil || r.Level != Weakened || r.PID != 7 {
		t.Errorf("loaded %+v, %v", r, err)
	}
	for range 2 {
		if err := Discard(dir); err != nil {
			t.Fatal(err)
		}
	}
	if r, _ := Load(dir); r.Level != Unknown {
		t.Errorf("a discarded report says %s", r.Level)
	}
}
