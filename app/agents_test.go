package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/desktop"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// fakeAgent is an agent as a person would describe one. Its installer takes the program from ~/fake, as from a registry;
// its sign-in is a file.
const fakeAgent = `agents:
  fake:
    name: Fake
    launch_command: fake
    install_command: [sh, -c, 'printf "\033[32mfetching\033[0m\n50%%\r100%%\r\n"; echo run >>~/installs; mkdir -p ~/.local/bin && cp ~/fake ~/.local/bin/ && chmod +x ~/.local/bin/fake']
    headless_args: [work, "{prompt}"]
    auth_check: [test, -e, .fake-auth]
    auth_command: [fake, login]
    auth_hosts: [fake.example.org]
    logout_command: [rm, .fake-auth]
`

// withFake is demo with a fake agent whose program is the given shell script.
func withFake(t *testing.T, script string) (*App, *vmtest.Memory) {
	t.Helper()
	a, d := demo(t)
	if err := os.WriteFile(a.Home.ConfigFile(), []byte(fakeAgent), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if script != "" {
		put(t, d, "fake", "#!/bin/sh\n"+script)
	}
	return a, d
}

// phases collects progress.
type phases struct {
	mu  sync.Mutex
	all []vm.Phase
}

func (p *phases) report(ph vm.Phase) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, ph)
}

func (p *phases) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%+v", p.all)
}

func TestInstallAgent(t *testing.T) {
	a, d := withFake(t, "")
	ctx := t.Context()
	// The registry has nothing: the installer's last words are the error's, and the agent is not taken for installed.
	_, err := a.InstallAgent(ctx, "demo", "fake", false, nil)
	if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "exit code 1") ||
		!strings.Contains(err.Error(), "  100%\n") || hint.Of(err) == "" || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("without a program: %v", err)
	}
	if s := a.CachedAgents("demo")["fake"]; s.Installed {
		t.Errorf("remembered %+v", s)
	}

	put(t, d, "fake", "#!/bin/sh\n")
	var seen phases
	s, err := a.InstallAgent(ctx, "demo", "fake", false, seen.report)
	if err != nil || !s.Installed || s.Auth != agent.SignedOut {
		t.Errorf("%+v, %v", s, err)
	}
	for _, want := range []string{"installing Fake in the guest", "Detail:fetching}", "Detail:100%}"} {
		if !strings.Contains(seen.String(), want) {
			t.Errorf("no %q in %s", want, &seen)
		}
	}

	// It is there: nothing is installed again, unless that is asked for.
	put(t, d, ".fake-auth", "")
	for _, again := range []bool{false, true} {
		if s, err = a.InstallAgent(ctx, "demo", "fake", again, nil); err != nil || s.Auth != agent.SignedIn {
			t.Errorf("again %v: %+v, %v", again, s, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(d.Home("demo"), "installs")); err != nil || string(b) != "run\nrun\nrun\n" {
		t.Errorf("installers run: %q, %v", b, err)
	}
	if got := a.CachedAgents("demo")["fake"]; !got.Installed || got.Auth != agent.SignedIn || got.AuthTime.IsZero() {
		t.Errorf("remembered %+v", got)
	}
}

func TestInstallSaysWhatIsMissing(t *testing.T) {
	a, _ := withFake(t, "")
	if err := a.Config().Set(a.Home.ConfigFile(), "agents.fake.requires", "unheard-of"); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	_, err := a.InstallAgent(t.Context(), "demo", "fake", false, nil)
	if !errors.Is(err, ErrRequirement) || !strings.Contains(err.Error(), "it needs unheard-of") || hint.Of(err) == "" {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
}

func TestInstallSaysWhichHostWasRefused(t *testing.T) {
	a, _ := withFake(t, "")
	for _, host := range []string{"127.0.0.1:4711", "registry.example.org:443"} {
		err := a.Journal.Append(journal.Event{
			Kind: journal.Connection, Workspace: "demo", Path: host, Detail: "is not on the allow list", Time: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := a.InstallAgent(t.Context(), "demo", "fake", false, nil)
	if err == nil || !strings.Contains(err.Error(), "the guest may not reach registry.example.org:443, which is not on the allow list") ||
		!strings.Contains(hint.Of(err), "net allow") {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
}

func TestSurveyAndReport(t *testing.T) {
	a, d := withFake(t, "")
	ctx := t.Context()
	put(t, d, ".local/bin/fake", "#!/bin/sh\n")
	put(t, d, ".local/bin/claude", "#!/bin/sh\necho '{\"loggedIn\": true}'\n")
	put(t, d, ".local/lib/node_modules/@anthropic-ai/claude-code/package.json", `{"version": "9.8.7"}`)
	for _, p := range []string{"fake", "claude"} {
		if err := os.Chmod(filepath.Join(d.Home("demo"), ".local/bin", p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r, err := a.ReportAgents(ctx, "demo", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.States["claude-code"]; !s.Installed || s.Version != "9.8.7" || s.Auth != agent.Unknown || !s.AuthTime.IsZero() {
		t.Errorf("claude-code, not asked: %+v", s)
	}
	if r.Modes["claude-code"] != "acceptEdits" {
		t.Errorf("modes %v", r.Modes)
	}
	if r, err = a.ReportAgents(ctx, "demo", true, nil); err != nil || r.States["claude-code"].Auth != agent.SignedIn ||
		r.States["fake"].Auth != agent.SignedOut {
		t.Errorf("asked: %+v, %v", r.States, err)
	}
	// A survey alone forgets nothing that was asked for before.
	if r, err = a.ReportAgents(ctx, "demo", false, nil); err != nil || r.States["claude-code"].Auth != agent.SignedIn {
		t.Errorf("afterwards: %+v, %v", r.States, err)
	}
	if err := a.Stop(ctx, "demo", nil); err != nil {
		t.Fatal(err)
	}
	if r, err = a.ReportAgents(ctx, "demo", true, nil); err != nil || r.States["claude-code"].Version != "9.8.7" {
		t.Errorf("stopped: %+v, %v", r.States, err)
	}
	if err := os.WriteFile(filepath.Join(a.Home.WorkspaceDir("demo"), agentsFile), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := a.CachedAgents("demo"); len(got) != 0 {
		t.Errorf("from a torn file: %+v", got)
	}
}

// stuckGuest has an agent whose status command never ends.
type stuckGuest struct{}

func (stuckGuest) Output(ctx context.Context, c guest.Cmd) (guest.Result, error) {
	if strings.Contains(strings.Join(c.Argv, " "), "auth") {
		<-ctx.Done()
		return guest.Result{Exit: -1}, ctx.Err()
	}
	return guest.Result{Stdout: []byte("claude-code\t2.0.0\n")}, nil
}

func (stuckGuest) Stream(context.Context, guest.Cmd, io.Writer, io.Writer) (int, error) {
	return 0, nil
}

func (stuckGuest) PTY(context.Context, guest.Cmd, guest.Terminal) (int, error) { return 0, nil }

func TestAStatusCommandThatHangsIsUnknown(t *testing.T) {
	a, _ := open(t)
	ag, err := a.Agents().Get("claude-code")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := a.AgentState(t.Context(), stuckGuest{}, ag)
		if !s.Installed || s.Version != "2.0.0" || s.Auth != agent.Unknown || !strings.Contains(s.Detail, "did not answer within") {
			t.Errorf("%+v", s)
		}
	})
}

func TestPermissionsAreWrittenOnce(t *testing.T) {
	a, d := withFake(t, "")
	put(t, d, ".local/bin/claude", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(d.Home("demo"), ".local/bin/claude"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := a.Config().Set(a.Home.VMFile("demo"), "agent_config.claude-code.mode", "plan"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.Home("demo"), ".claude/settings.json")
	for _, want := range []string{`"defaultMode": "plan"`, "mine"} {
		if _, err := a.InstallAgent(t.Context(), "demo", "claude-code", false, nil); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("no %s in %q, %v", want, b, err)
		}
		put(t, d, ".claude/settings.json", "mine")
	}
}

func TestDefaultAgent(t *testing.T) {
	a, _ := withFake(t, "")
	if err := a.SetDefaultAgent("demo", "nobody"); !errors.Is(err, agent.ErrUnknown) {
		t.Errorf("an unknown one: %v", err)
	}
	if err := a.SetDefaultAgent("", "codex"); err != nil {
		t.Fatal(err)
	}
	if w, err := a.Workspace("demo"); err != nil || w.Agent != "codex" {
		t.Errorf("everywhere: %+v, %v", w, err)
	}
	if err := a.SetDefaultAgent("demo", "fake"); err != nil {
		t.Fatal(err)
	}
	if w, err := a.Workspace("demo"); err != nil || w.Agent != "fake" || a.Config().Agent != "codex" {
		t.Errorf("in one: %+v, %v", w, err)
	}
}

// TestSignIn: the agent's own link is told of, copied and opened on the host; another one is copied alone; and whether
// it is signed in is what the agent says afterwards.
func TestSignIn(t *testing.T) {
	const own, other = "https://fake.example.org/device?code=1", "https://evil.example.net/x"
	for name, tt := range map[string]struct {
		script         string
		desk           bool
		copied, opened []string
		says           string
		status         agent.Status
	}{
		"its own site": {
			"echo 'visit " + own + " now'; read code; touch .fake-auth", true,
			[]string{own},
			[]string{own},
			"copied, and opened in the browser", agent.SignedIn,
		},
		"another site": {
			"echo 'visit " + other + "'; read code", true, []string{other}, nil, "copied; not opened", agent.SignedOut,
		},
		"another, then its own, again and again": {
			"for l in " + other + " https://evil.example.net/y " + own + " " + own + "2; do echo $l; done; read code; touch .fake-auth",
			true,
			[]string{other, own},
			[]string{own},
			"copied, and opened", agent.SignedIn,
		},
		"no desktop": {
			"echo " + own + "; read code; touch .fake-auth", false, nil, nil, "open it in a browser on this machine", agent.SignedIn,
		},
		"the browser would be sent to localhost": {
			"echo '" + own + "&redirect_uri=http://localhost:1455/'; read code", true,
			[]string{own + "&redirect_uri=http://localhost:1455/"},
			[]string{own + "&redirect_uri=http://localhost:1455/"},
			"where only the VM listens", agent.SignedOut,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := withFake(t, `[ "$1" = login ] || exit 9`+"\n"+tt.script+"\n")
			ptmx, tty, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = errors.Join(ptmx.Close(), tty.Close()) }()
			rec := &desktop.Recorder{}
			var desk desktop.Desktop
			if tt.desk {
				desk = rec
			}
			screen := make(chan string, 1)
			go func() {
				var all strings.Builder
				b := make([]byte, 1024)
				for {
					n, err := ptmx.Read(b)
					all.Write(b[:n])
					if err != nil {
						return
					}
					if strings.Contains(all.String(), tt.says) {
						screen <- all.String()
						break
					}
				}
				_, _ = ptmx.WriteString("the code\r")
				_, _ = io.Copy(io.Discard, ptmx)
			}()
			s, err := a.SignIn(t.Context(), Terminal{TTY: tty, Out: tty, Ready: func() {}}, "demo", "fake", desk, nil)
			if err != nil || s.Auth != tt.status {
				t.Fatalf("%+v, %v", s, err)
			}
			<-screen
			calls := rec.Calls()
			if diff := cmp.Diff(tt.copied, calls.Copied); diff != "" {
				t.Errorf("copied: %s", diff)
			}
			if diff := cmp.Diff(tt.opened, calls.Opened); diff != "" {
				t.Errorf("opened: %s", diff)
			}
		})
	}
}

func TestSignInWithoutACommand(t *testing.T) {
	a, _ := withFake(t, "")
	_, err := a.SignIn(t.Context(), Terminal{}, "demo", "aider", nil, nil)
	if err == nil || !strings.Contains(hint.Of(err), "aider.conf.yml") {
		t.Errorf("%v, hint %q", err, hint.Of(err))
	}
	if _, err := a.SignOut(t.Context(), "demo", "aider", nil); err == nil || hint.Of(err) == "" {
		t.Errorf("out: %v", err)
	}
}

func TestSignOut(t *testing.T) {
	a, d := withFake(t, "")
	put(t, d, ".local/bin/fake", "#!/bin/sh\n")
	put(t, d, ".fake-auth", "")
	if err := os.Chmod(filepath.Join(d.Home("demo"), ".local/bin/fake"), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := a.SignOut(t.Context(), "demo", "fake", nil)
	if err != nil || !s.Installed || s.Auth != agent.SignedOut {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := a.SignOut(t.Context(), "demo", "fake", nil); err == nil {
		t.Error("a command that fails is not an error")
	}
}
