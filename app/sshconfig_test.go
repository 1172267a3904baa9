package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// effective is what ssh(1) itself makes of the file for one host: settings by lower-case name.
func effective(t *testing.T, file, host string) map[string]string {
	t.Helper()
	out, err := exec.Command("ssh", "-G", "-F", file, host).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh -G: %v\n%s", err, out)
	}
	set := map[string]string{}
	for line := range strings.Lines(string(out)) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if _, there := set[k]; !there {
			set[k] = v
		}
	}
	return set
}

func TestSSHReadsAnyPathAsItIs(t *testing.T) {
	for _, dir := range []string{"cal", "two words", `it's "quoted"`, `back\slash`, "100%h", "ünï", "semi;colon$(x)`y`&#", "-"} {
		t.Run(dir, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			home := filepath.Join(t.TempDir(), dir, "cal")
			t.Setenv("CAL_HOME", home)
			a, err := Open(Options{Driver: vmtest.NewMemory(t, vmtest.MemoryOptions{})})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if err := a.New(t.Context(), "demo", nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := a.WriteSSHConfig(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			got := effective(t, a.SSHConfigFile(), "cal-demo")
			key := filepath.Join(home, "isolation", "vms", "demo", "keys", "id_ed25519")
			// ssh -G prints this one before it expands tokens.
			if want := strings.ReplaceAll(key, "%", "%%"); got["identityfile"] != want {
				t.Errorf("identity file %s, want %s", got["identityfile"], want)
			}
			if want := filepath.Join(home, "ssh_known_hosts"); got["userknownhostsfile"] != want {
				t.Errorf("known hosts %s, want %s", got["userknownhostsfile"], want)
			}
			// The shell ssh runs the command by sees the words that were meant.
			line := strings.ReplaceAll(got["proxycommand"], "%%", "%")
			out, err := exec.Command("sh", "-c", "set -- "+line+`; printf '%s\n' "$@"`).Output()
			self, _ := os.Executable()
			if want := "/usr/bin/env\nCAL_HOME=" + home + "\n" + self + "\nssh-proxy\ndemo\n"; err != nil || string(out) != want {
				t.Errorf("the proxy command's words are\n%s(%v), want\n%s", out, err, want)
			}
			for k, want := range map[string]string{
				"identitiesonly": "yes", "stricthostkeychecking": "true", "updatehostkeys": "false", "forwardagent": "no",
				"forwardx11": "no", "permitlocalcommand": "no", "controlmaster": "false", "user": "cal",
				"hostkeyalias": "cal-demo", "preferredauthentications": "publickey", "identityagent": "none",
			} {
				if got[k] != want {
					t.Errorf("%s is %q, want %q", k, got[k], want)
				}
			}
			if other := effective(t, a.SSHConfigFile(), "example.org"); other["proxycommand"] != "" || other["user"] == "cal" {
				t.Errorf("another host is %q, %q", other["user"], other["proxycommand"])
			}
		})
	}
}

func TestPathsSSHCannotBeToldOfAreRefused(t *testing.T) {
	for path, ok := range map[string]bool{"/a/b": true, "/a/${b}": false, "/a\nb": false, "/a\x7fb": false, "/a/$b": true} {
		if _, err := sshPath(path); (err == nil) != ok || err != nil && hint.Of(err) == "" {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, name := range []string{"st*r", "wh?t", "[x]", "{x}", "1%", "$x"} {
		a := &App{}
		a.Home.Dir = "/" + name
		if _, err := a.includeLine(); err == nil {
			t.Errorf("%q can be included", name)
		}
	}
}

func TestTheIncludeIsOneLineAndNothingElseChanges(t *testing.T) {
	a, _ := open(t)
	line, err := a.includeLine()
	if err != nil {
		t.Fatal(err)
	}
	for name, before := range map[string]string{
		"empty":               "",
		"hosts":               "Host x\n\tUser y\n",
		"no newline":          "Host x",
		"windows":             "# mine\r\nHost x\r\n",
		"not text":            "\x00\xff\n",
		"further down":        "Host x\n" + line + "\n  User y\n",
		"there already":       line + "\nHost x\n",
		"alike but not ours":  "Include ~/.cal/ssh_config\n  " + line + "\n",
		"there more than one": line + "\n" + "Host x\n" + line + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			file := filepath.Join(home, ".ssh", "config")
			if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(before), 0o640); err != nil {
				t.Fatal(err)
			}
			rest := withoutLine(before, line)
			for i := range 2 {
				if _, changed, err := a.InstallSSHInclude(); err != nil || i == 1 && changed {
					t.Fatalf("installing: changed %v, %v", changed, err)
				}
				got, _ := os.ReadFile(file)
				if !strings.HasPrefix(string(got), line+"\n") || i == 0 && name != "there more than one" && string(got) != line+"\n"+rest {
					t.Errorf("installed:\n%q", got)
				}
			}
			if _, changed, err := a.RemoveSSHInclude(); err != nil || !changed {
				t.Fatalf("removing: changed %v, %v", changed, err)
			}
			got, _ := os.ReadFile(file)
			if fi, err := os.Stat(file); string(got) != rest || err != nil || fi.Mode().Perm() != 0o640 {
				t.Errorf("removed:\n%q, want\n%q (%v, %v)", got, rest, fi, err)
			}
		})
	}
}

func TestTheIncludeAndLinksAndWhatMayNotBeWritten(t *testing.T) {
	a, _ := open(t)
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(home, ".ssh", "config")
	if _, changed, err := a.RemoveSSHInclude(); err != nil || changed {
		t.Errorf("removing from nothing: %v, %v", changed, err)
	}
	if _, _, err := a.InstallSSHInclude(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("made with mode %v, %v", fi, err)
	}
	dotfile := filepath.Join(t.TempDir(), "ssh-config")
	if err := os.WriteFile(dotfile, []byte("Host x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(file), os.Symlink(dotfile, file)); err != nil {
		t.Fatal(err)
	}
	if _, changed, err := a.InstallSSHInclude(); err != nil || !changed {
		t.Fatal(changed, err)
	}
	if _, err := os.Readlink(file); err != nil {
		t.Errorf("the link is gone: %v", err)
	}
	if b, _ := os.ReadFile(dotfile); !strings.HasPrefix(string(b), "Include ") || !strings.HasSuffix(string(b), "\nHost x\n") {
		t.Errorf("behind the link: %q", b)
	}
	if err := os.Chmod(dotfile, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.RemoveSSHInclude(); err == nil || !strings.Contains(err.Error(), "read-only") || hint.Of(err) == "" {
		t.Errorf("changing a read-only file: %v", err)
	}
}

// proxied is a connection through SSHProxy, and what SSHProxy returned once it has.
func proxied(ctx context.Context, a *App) (net.Conn, <-chan error) {
	near, far := net.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := a.SSHProxy(ctx, "demo", far, far, false, nil)
		far.Close()
		ended <- err
	}()
	return near, ended
}

func TestTheProxyCarriesMuchManyTimes(t *testing.T) {
	a, _ := demo(t)
	id, err := guest.EnsureIdentity(a.identityDir("demo"))
	if err != nil {
		t.Fatal(err)
	}
	login := func() *ssh.Client {
		conn, ended := proxied(t.Context(), a)
		c, chans, reqs, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
			User: a.Driver.Info().Capabilities.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(id.Signer())},
			HostKeyCallback: ssh.FixedHostKey(id.HostPublic()),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := <-ended; err != nil {
				t.Errorf("the proxy ended with %v", err)
			}
		})
		return ssh.NewClient(c, chans, reqs)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	client := login()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	s.Stdin = bytes.NewReader(data)
	got, err := s.Output("cat")
	if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
		t.Errorf("16 MiB came back as %d bytes, %v", len(got), err)
	}
	client.Close()
	for range 50 {
		login().Close()
	}
}

func TestTheProxyEndsWithEitherSide(t *testing.T) {
	a, _ := demo(t)
	greeted := func(conn net.Conn) {
		t.Helper()
		b := make([]byte, 4)
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "SSH-" {
			t.Fatalf("the guest's greeting is %q, %v", b, err)
		}
	}
	conn, ended := proxied(t.Context(), a)
	greeted(conn)
	conn.Close() // ssh(1) is gone
	if err := <-ended; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after the near side: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	conn, ended = proxied(ctx, a)
	greeted(conn)
	cancel() // SIGHUP, as ssh(1) sends it
	if err := <-ended; err != nil {
		t.Errorf("after the signal: %v", err)
	}
	conn, ended = proxied(t.Context(), a)
	greeted(conn)
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	if err := a.Stop(t.Context(), "demo", nil); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended: // with or without an error: the machine is gone
		t.Logf("after the machine: %v", err)
	case <-time.After(time.Minute):
		t.Error("the proxy outlives the machine")
	}
	err := a.SSHProxy(t.Context(), "demo", strings.NewReader(""), io.Discard, false, nil)
	if !errors.Is(err, vm.ErrNotRunning) || hint.Of(err) != "Start it: CALMenu start demo" {
		t.Errorf("without a machine: %v (%s)", err, hint.Of(err))
	}
}

func TestTheLastWordsOfAGuestArriveAfterTheLastOfSSH(t *testing.T) {
	near, far := net.Pipe() // no way to close one direction alone
	go func() {
		_, _ = io.ReadAll(io.LimitReader(far, 3))
		_, _ = far.Write([]byte("goodbye"))
		far.Close()
	}()
	var out bytes.Buffer
	if err := carry(t.Context(), near, strings.NewReader("bye"), &out); err != nil || out.String() != "goodbye" {
		t.Errorf("%q, %v", &out, err)
	}
}
