package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sshd is the guest's side: Debian's OpenSSH, one process in inetd mode per connection, never as root.
type sshd struct {
	t        *testing.T
	dir      string // scratch, readable for the guest's user; also its home where possible
	bin      string // first in the guest's PATH
	user     string
	identity *Identity
	argv     []string

	mu    sync.Mutex
	procs []*exec.Cmd
}

const sshdProgram = "/usr/sbin/sshd"

func startSSHD(t *testing.T, config ...string) *sshd {
	t.Helper()
	if _, err := os.Stat(sshdProgram); err != nil {
		t.Skip("needs OpenSSH's server (apt-get install openssh-server)")
	}
	dir := t.TempDir()
	s := &sshd{t: t, dir: dir, bin: filepath.Join(dir, "bin")}
	must(t, os.Mkdir(s.bin, 0o755))
	// The guest's user is not the one that runs the test.
	must(t, os.Chmod(filepath.Dir(dir), 0o711))
	must(t, os.Chmod(dir, 0o777))
	identity, err := EnsureIdentity(filepath.Join(dir, "keys"))
	must(t, err)
	s.identity = identity
	host := s.file("host_key", string(identity.HostKeyPEM()), 0o600)
	authorized := s.file("authorized_keys", string(identity.AuthorizedKey()), 0o644)
	lines := append([]string{
		"HostKey " + host,
		"AuthorizedKeysFile " + authorized,
		"StrictModes no",
		"UsePAM no",
		"PasswordAuthentication no",
		"PidFile none",
		"Subsystem sftp internal-sftp",
		"SetEnv PATH=" + s.bin + ":/usr/local/bin:/usr/bin:/bin LC_ALL=C",
	}, config...)
	file := s.file("sshd_config", strings.Join(lines, "\n")+"\n", 0o644)
	s.argv = []string{sshdProgram, "-i", "-e", "-f", file}
	s.user = os.Getenv("USER")
	if os.Geteuid() == 0 {
		s.unprivileged(host)
	}
	t.Cleanup(s.stop)
	return s
}

// unprivileged makes the server run as a user of its own, in a mount namespace where that user exists.
func (s *sshd) unprivileged(host string) {
	s.user = "guest"
	passwd := s.file("passwd", "root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::"+s.dir+":/bin/sh\n", 0o644)
	group := s.file("group", "guest:x:1000:\n", 0o644)
	must(s.t, os.Chown(host, 1000, 1000))
	script := `mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/group && shift 2 &&
exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"`
	enter := []string{"unshare", "-m", "sh", "-c", script, "sh", passwd, group}
	if out, err := exec.Command(enter[0], append(enter[1:], "true")...).CombinedOutput(); err != nil {
		s.t.Skipf("needs a mount namespace to run sshd as another user than root: %v: %s", err, out)
	}
	s.argv = append(enter, s.argv...)
}

func (s *sshd) file(name, content string, mode os.FileMode) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	must(s.t, os.WriteFile(path, []byte(content), mode))
	must(s.t, os.Chmod(path, mode))
	return path
}

// program puts a shell script into the guest's PATH.
func (s *sshd) program(name, script string) {
	s.t.Helper()
	s.file(filepath.Join("bin", name), "#!/bin/sh\n"+script+"\n", 0o755)
}

func (s *sshd) dial(context.Context) (net.Conn, error) {
	near, f, err := nettest.Pair()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Stdin, cmd.Stdout = f, f
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.procs = append(s.procs, cmd)
	s.mu.Unlock()
	return near, nil
}

// signal sends all of the guest's server processes a signal.
func (s *sshd) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.procs {
		_ = syscall.Kill(-p.Process.Pid, sig)
	}
}

func (s *sshd) stop() {
	s.signal(syscall.SIGCONT)
	s.signal(syscall.SIGKILL)
	for _, p := range s.procs {
		_ = p.Wait()
	}
	if s.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		s.t.Logf("sshd said:\n%s", log)
	}
}

func (s *sshd) options() Options {
	return Options{
		Dial: s.dial, User: s.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.identity.Signer())},
		HostKey: s.identity.HostPublic(), Timeout: 20 * time.Second,
	}
}

// connect gives a connection that ends with the test.
func (s *sshd) connect() *Client {
	s.t.Helper()
	c, err := Connect(s.t.Context(), s.options())
	must(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// alive tells whether the process whose number a guest command wrote to a file runs.
func alive(t *testing.T, pidFile string) bool {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	must(t, err)
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) && syscall.Kill(pid, 0) == nil
	}
	return !strings.Contains(string(stat), ") Z ")
}
