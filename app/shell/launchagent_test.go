package shell

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"howett.net/plist"

	"github.com/calmenu/calmenu/app/state"
)

// launchctl records how it is called.
type launchctl struct {
	calls    []string
	disabled string
	refuses  bool
}

func (l *launchctl) run(_ context.Context, argv ...string) ([]byte, error) {
	l.calls = append(l.calls, strings.Join(argv, " "))
	switch {
	case argv[1] == "print-disabled":
		return []byte(l.disabled), nil
	case argv[1] == "bootstrap" && l.refuses:
		return []byte("Bootstrap failed: 5: Input/output error\n"), errors.New("exit status 5")
	}
	return nil, nil
}

// app is a login item of an application's.
type fakeService struct {
	is    state.LoginItem
	fails bool
}

func (f *fakeService) state() (state.LoginItem, error) { return f.is, nil }

func (f *fakeService) set(on bool) error {
	switch {
	case f.fails:
		return errors.New("macOS refused")
	case on:
		f.is = state.LoginOn
	default:
		f.is = state.LoginOff
	}
	return nil
}

func agentIn(t *testing.T, l *launchctl) launchAgent {
	t.Helper()
	return launchAgent{folder: t.TempDir() + "/LaunchAgents", program: "/opt/A&B/CALMenu", uid: 501, run: l.run}
}

func TestLaunchAgent(t *testing.T) {
	l := &launchctl{}
	a := agentIn(t, l)
	if got := a.state(); got != state.LoginOff || l.calls != nil {
		t.Errorf("without a file: %s, %q", got, l.calls)
	}
	if err := a.set(false); err != nil || l.calls != nil {
		t.Errorf("removing what is not there: %v, %q", err, l.calls)
	}
	if err := a.set(true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.file())
	if err != nil {
		t.Fatal(err)
	}
	var job struct {
		Label                  string
		ProgramArguments       []string
		RunAtLoad              bool
		LimitLoadToSessionType string
	}
	if _, err := plist.Unmarshal(text, &job); err != nil {
		t.Fatal(err)
	}
	if job.Label != label || !slices.Equal(job.ProgramArguments, []string{"/opt/A&B/CALMenu"}) || !job.RunAtLoad ||
		job.LimitLoadToSessionType != "Aqua" {
		t.Errorf("the job is %+v", job)
	}
	if got := a.state(); got != state.LoginOn {
		t.Errorf("set up: %s", got)
	}
	l.disabled = "disabled services = {\n\t\"io.github.calmenu.CALMenu\" => disabled\n}\n"
	if got := a.state(); got != state.LoginNeedsApproval {
		t.Errorf("switched off in System Settings: %s", got)
	}
	l.disabled = "disabled services = {\n\t\"io.github.calmenu.CALMenu\" => enabled\n\t\"other\" => disabled\n}\n"
	if got := a.state(); got != state.LoginOn {
		t.Errorf("another is switched off: %s", got)
	}
	if err := a.set(false); err != nil {
		t.Fatal(err)
	}
	if got := a.state(); got != state.LoginOff {
		t.Errorf("removed: %s", got)
	}
	ask := "/bin/launchctl print-disabled gui/501"
	want := []string{
		"/bin/launchctl bootstrap gui/501 " + a.file(), ask, ask, ask, "/bin/launchctl bootout gui/501/io.github.calmenu.CALMenu",
	}
	if !slices.Equal(l.calls, want) {
		t.Errorf("called %q\nwant   %q", l.calls, want)
	}
	l.refuses = true
	if err := a.set(true); err == nil || !strings.Contains(err.Error(), "Input/output error") {
		t.Errorf("launchd refused: %v", err)
	}
}

// A process that launchd started as this very job must not have it unloaded: launchd would end it.
func TestLaunchAgentDoesNotEndItself(t *testing.T) {
	l := &launchctl{}
	a := agentIn(t, l)
	a.job = label
	for _, on := range []bool{true, true, false} {
		if err := a.set(on); err != nil {
			t.Fatal(err)
		}
	}
	if l.calls != nil {
		t.Errorf("called %q", l.calls)
	}
}

func TestLoginItemAndItsFallback(t *testing.T) {
	l := &launchctl{}
	s := &fakeService{is: state.LoginOff}
	m := macLogin{service: s, agent: agentIn(t, l)}
	check := func(what string, err error, want state.LoginItem) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := m.state(); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("at first", nil, state.LoginOff)
	check("on", m.set(true), state.LoginOn)
	if l.calls != nil {
		t.Errorf("launchctl was called for an application: %q", l.calls)
	}
	s.is = state.LoginNeedsApproval
	check("switched off in the settings", nil, state.LoginNeedsApproval)
	check("off", m.set(false), state.LoginOff)
	s.fails = true
	check("refused", m.set(true), state.LoginOn)
	s.fails = false
	check("an application again", m.set(true), state.LoginOn)
	if m.agent.state() != state.LoginOff {
		t.Error("both start it")
	}
	m.service = nil
	check("no application", nil, state.LoginOff)
	check("no application, on", m.set(true), state.LoginOn)
	check("no application, off", m.set(false), state.LoginOff)
}

func TestWhatDoctorSaysOfTheLoginItem(t *testing.T) {
	for _, tt := range []struct {
		wanted bool
		is     state.LoginItem
		ok     bool
	}{
		{false, state.LoginOff, true},
		{true, state.LoginOn, true},
		{true, state.LoginOff, false},
		{false, state.LoginNeedsApproval, false},
		{true, state.LoginUnavailable, false},
		{false, state.LoginUnavailable, true},
	} {
		r := loginRequirement(tt.wanted, tt.is)
		if r.OK != tt.ok || r.OK == (r.Hint != "") || !r.Optional || r.Detail == "" {
			t.Errorf("wanted %v and %s: %+v", tt.wanted, tt.is, r)
		}
	}
}
