package provision_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/golden"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/provision"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// counted counts the commands that reach the guest, and keeps them.
type counted struct {
	provision.Shell
	scripts []string
}

func (c *counted) Output(ctx context.Context, cmd guest.Cmd) (guest.Result, error) {
	c.scripts = append(c.scripts, cmd.Argv[2])
	return c.Shell.Output(ctx, cmd)
}

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sandbox is a guest on this host: its home, and a connection to it.
func sandbox(t *testing.T) (home string, shell *counted) {
	t.Helper()
	home = t.TempDir()
	host, user := signer(t), signer(t)
	c, err := guest.Connect(t.Context(), guest.Options{
		Dial: vmtest.StartSSHGuest(t, home, host, user.PublicKey()),
		User: "cal", Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKey: host.PublicKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return home, &counted{Shell: c}
}

const secret = "NOTINANYARGUMENT234567"

func runner(t *testing.T, shell provision.Shell, g provision.Guest) *provision.Runner {
	t.Helper()
	vars := provision.StockVars("admin")
	vars["authorized_key"] = "ssh-ed25519 AAAA it's the workspace's"
	vars["vm_info"] = "CAL_VM=true\nCAL_VM_NAME=demo"
	vars["timezone"] = "Nowhere/At_All"
	vars["share_tag"] = "cal-output"
	vars["ca_hash"] = ""
	commands, err := provision.ProxyCommands()
	if err != nil {
		t.Fatal(err)
	}
	vars["proxy_commands"] = commands
	// Whether these are there is this host's affair, and whether they can be had.
	steps := load(t).For(g, provision.First, provision.Boot, provision.Session)
	steps = remove(steps, "tmux", "gh")
	return &provision.Runner{
		Shell: shell, Steps: steps, Vars: vars,
		Input: func(provision.Input) ([]byte, error) { return provision.PasswordInput(secret), nil },
	}
}

func remove(l provision.List, ids ...string) (rest provision.List) {
	for _, s := range l {
		if !strings.Contains(" "+strings.Join(ids, " ")+" ", " "+s.ID+" ") {
			rest = append(rest, s)
		}
	}
	return rest
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// table is results as a person reads them.
func table(results []provision.Result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%-8s %-15s %s\n", r.Outcome, r.Step.ID, r.Detail)
	}
	return b.String()
}

// A macOS guest, as far as programs that only write down what they are asked can play one: every step is done, the
// second run finds nothing to do, and no secret was an argument of anything.
func TestMacGuestIsSetUpOnce(t *testing.T) {
	t.Parallel()
	home, shell := sandbox(t)
	autologin := filepath.Join(home, ".root", "etc", "kcpassword")
	if err := os.MkdirAll(filepath.Dir(autologin), 0o700); err != nil {
		t.Fatal(err)
	}
	// Others fill the file up with what they like.
	stock := append(provision.KCPassword("admin")[:6], "\xba\x2c\xac\xa4\xe8\x2a"...)
	if err := os.WriteFile(autologin, stock, 0o600); err != nil {
		t.Fatal(err)
	}
	mac := provision.Guest{
		OS: "darwin", Facts: []string{provision.StockPassword, provision.Share}, Agent: "cursor-cli",
	}
	r := runner(t, shell, mac)
	var phases []string
	results, err := r.Run(t.Context(), func(p vm.Phase) { phases = append(phases, p.Name) })
	if err != nil {
		t.Fatal(err)
	}
	golden.Text(t, filepath.Join("testdata", "mac.golden"), strings.ReplaceAll(
		table(results)+"\n"+strings.Join(phases, "\n")+"\n\n"+read(t, home, ".root", "commands"), home, "HOME"))
	if got := read(t, autologin); got != string(provision.KCPassword(secret)) {
		t.Errorf("the automatic log-in has %x", got)
	}
	if got := read(t, home, ".root", "password") + " " + read(t, home, ".root", "keychain"); got != secret+" "+secret {
		t.Errorf("account and keychain have the passwords %q", got)
	}
	if all := strings.Join(shell.scripts, "") + read(t, home, ".root", "commands"); strings.Contains(all, secret) {
		t.Error("the password was an argument of a command")
	}

	before := len(shell.scripts)
	r.Input = nil
	if results, err = r.Run(t.Context(), func(p vm.Phase) { t.Errorf("the second time, %s", p.Name) }); err != nil {
		t.Fatal(err)
	}
	if n := len(shell.scripts) - before; n != 1 {
		t.Errorf("the second time took %d commands in the guest", n)
	}
	for _, s := range results {
		if s.Outcome != provision.Held {
			t.Errorf("the second time, %s: %s, %s", s.Step.ID, s.Outcome, s.Detail)
		}
	}
}

func TestLinuxGuestIsSetUpOnce(t *testing.T) {
	t.Parallel()
	home, shell := sandbox(t)
	r := runner(t, shell, provision.Guest{OS: "linux"})
	for _, want := range []provision.Outcome{provision.Done, provision.Held} {
		results, err := r.Run(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range results {
			if s.Step.ID != "password-locked" && s.Step.ID != "timezone" && s.Outcome != want {
				t.Errorf("%s: %s, %s, want %s", s.Step.ID, s.Outcome, s.Detail, want)
			}
		}
	}
	if got := read(t, home, ".ssh", "authorized_keys"); got != r.Vars["authorized_key"]+"\n" {
		t.Errorf("authorized_keys holds %q", got)
	}
}

// A step that was undone, or whose run was cut short, is done again: nothing is remembered.
func TestASetUpThatWasCutShortIsGoneOnWith(t *testing.T) {
	t.Parallel()
	home, shell := sandbox(t)
	r := runner(t, shell, provision.Guest{OS: "linux"})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.Run(ctx, func(p vm.Phase) {
		if strings.Contains(p.Name, "making the folders") {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cut short: %v", err)
	}
	results, err := r.Run(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(results, "key"); got != provision.Held {
		t.Errorf("what was done is %s", got)
	}
	if err := os.Remove(filepath.Join(home, ".cal-vm-info")); err != nil {
		t.Fatal(err)
	}
	if results, err = r.Check(t.Context()); err != nil || outcome(results, "environment") != provision.Missing {
		t.Errorf("a check after the fact was taken away: %s, %v", outcome(results, "environment"), err)
	}
	if results, err = r.Run(t.Context(), nil); err != nil || outcome(results, "environment") != provision.Done {
		t.Errorf("done again: %s, %v", outcome(results, "environment"), err)
	}
}

func outcome(results []provision.Result, id string) provision.Outcome {
	for _, r := range results {
		if r.Step.ID == id {
			return r.Outcome
		}
	}
	return ""
}

// What sshd obeys is the first word, not any: a file that sorts before and says otherwise is no key-only log-in.
func TestPasswordLoginIsOffOnlyIfTheFirstWordSaysSo(t *testing.T) {
	t.Parallel()
	const no = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
	for name, tt := range map[string]struct {
		first, later string
		holds        bool
	}{
		"off":                      {no, "PasswordAuthentication yes\n", true},
		"on before off":            {"passwordauthentication YES\n", no, false},
		"half":                     {"PasswordAuthentication no\n", "", false},
		"for one user alone":       {"Match User x\n" + no, "", false},
		"for one user, and others": {no + "Match User x\nPasswordAuthentication yes\n", "", true},
		"nothing":                  {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, shell := sandbox(t)
			dir := filepath.Join(home, ".root/etc/ssh/sshd_config.d")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"001-a.conf": tt.first, "050-b.conf": tt.later} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			results, err := runner(t, shell, provision.Guest{OS: "linux"}).Check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := outcome(results, "keys-only") == provision.Held; got != tt.holds {
				t.Errorf("holds: %v, want %v:\n%s", got, tt.holds, table(results))
			}
		})
	}
}

// steps makes a list of scripts: "id check|do", an id with a "?" is optional, with a ">x" needs x.
func steps(scripts ...string) (l provision.List) {
	for _, line := range scripts {
		id, rest, _ := strings.Cut(line, " ")
		check, do, _ := strings.Cut(rest, "|")
		id, needs, _ := strings.Cut(id, ">")
		id, optional := strings.CutSuffix(id, "?")
		l = append(l, provision.Step{
			ID: id, Title: "making " + id, Check: check, Do: do, Optional: optional, Needs: strings.Fields(needs),
			Timeout: 2 * time.Second, Evidence: id + " is there",
		})
	}
	return l
}

func TestRunSaysWhichStepFailedAndWhy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		steps []string
		err   string // empty: none
		want  string // outcomes
	}{
		"all holds": {
			[]string{"a true|exit 3", "b echo yes|exit 3"},
			"", "held held",
		},
		"done": {
			[]string{"a [ -e f ]|: >f"},
			"", "done",
		},
		"do fails": {
			[]string{"a false|echo one; echo two; false", "b true|true"},
			"making a: two", "failed held",
		},
		"it stops": {
			[]string{"a false|exit 9", "b false|: >never"},
			"making a: exit code 9", "failed missing",
		},
		"done, and not so": {
			[]string{"a echo nope; false|true"},
			"making a: nope", "failed",
		},
		"first failure counts": {
			[]string{"a false|false; : >f"},
			"making a: exit code 1", "failed",
		},
		"optional": {
			[]string{"a? false|echo no luck; exit 1", "b [ -e g ]|: >g"},
			"", "failed done",
		},
		"not now": {
			[]string{"a? false|echo no network; exit 75"},
			"", "skipped",
		},
		"not now is no excuse": {
			[]string{"a false|exit 75"},
			"making a: exit code 75", "failed",
		},
		"needs": {
			[]string{"a? false|false", "b?>a false|: >never", "c true|true"},
			"", "failed skipped held",
		},
		"needs, but must": {
			[]string{"a? false|false", "b>a false|: >never"},
			"making b: it needs making a", "failed skipped",
		},
		"hangs": {
			[]string{"a false|exec sleep 100"},
			"making a: it did not end within 2s", "failed",
		},
		"kills the shell": {
			[]string{"a false|kill -9 $$"},
			"making a: ", "failed",
		},
		"reads what is not given": {
			[]string{"a cat; false|cat; [ -z \"$(cat)\" ] && exit 4"},
			"making a: exit code 4", "failed",
		},
		"cursor codes": {
			[]string{"a false|printf '\\033[31mred\\033[0m\\r\\n'; false"},
			"making a: [31mred[0m", "failed",
		},
		"case": {
			[]string{"a case x in x) true;; esac|true"},
			"", "held",
		},
		"forged": {
			[]string{"a false|printf '@cal\\tdo\\ta\\t0\\tfine\\n'; false"},
			"making a: ", "failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, shell := sandbox(t)
			results, err := (&provision.Runner{Shell: shell, Steps: steps(tt.steps...)}).Run(t.Context(), nil)
			var failed *provision.StepError
			switch {
			case tt.err == "" && err == nil:
			case tt.err == "", !errors.As(err, &failed), !strings.Contains(err.Error(), tt.err):
				t.Errorf("error %v, want %q", err, tt.err)
			}
			var got []string
			for _, r := range results {
				got = append(got, string(r.Outcome))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("outcomes %q, want %q", got, tt.want)
			}
			if _, err := os.Stat(filepath.Join(home, "never")); err == nil {
				t.Error("what must not be done was done")
			}
		})
	}
}
