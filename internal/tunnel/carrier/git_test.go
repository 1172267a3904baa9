package carrier

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/nettest"
)

// gitServer is OpenSSH's server on the host's loopback, which lets the box's key do nothing but git in a repository.
func (b *box) gitServer() string {
	b.t.Helper()
	repo := filepath.Join(b.dir, "repo.git")
	if out, err := exec.Command("git", "init", "-q", "--bare", "-b", "main", repo).CombinedOutput(); err != nil {
		b.t.Fatalf("git init: %v: %s", err, out)
	}
	must(b.t, os.WriteFile(filepath.Join(b.dir, "git_authorized"), append([]byte(
		`restrict,command="git-shell -c \"$SSH_ORIGINAL_COMMAND\"" `), b.id.AuthorizedKey()...), 0o600))
	must(b.t, os.WriteFile(filepath.Join(b.dir, "git_sshd_config"), fmt.Appendf(nil, "HostKey %s/host_key\n"+
		"AuthorizedKeysFile %[1]s/git_authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPidFile none\n", b.dir), 0o600))
	must(b.t, os.WriteFile(filepath.Join(b.dir, "git_known"),
		append([]byte("good.test "), ssh.MarshalAuthorizedKey(b.id.HostPublic())...), 0o600))
	// In the host's network; of the box it has the directory that the server wants.
	line := append([]string{"nsenter"}, "-t", fmt.Sprint(b.pid), "-m", "--", "/usr/sbin/sshd", "-i", "-e", "-f",
		filepath.Join(b.dir, "git_sshd_config"))
	return nettest.Serve(b.t, func(conn *net.TCPConn) {
		f, err := conn.File()
		if err != nil {
			return
		}
		defer f.Close()
		cmd := exec.CommandContext(b.t.Context(), line[0], line[1:]...)
		cmd.Stdin, cmd.Stdout = f, f
		_ = cmd.Run() // its end is the connection's
	})
}

// git clones, pushes and fetches over SSH in the box, by a program that knows of no tunnel.
func (b *box) git() {
	b.t.Helper()
	begun := time.Now()
	data := make([]byte, 8<<20)
	_, _ = rand.Read(data)
	git := func(args ...string) string {
		b.t.Helper()
		out, err := b.run(append([]string{
			"env", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -i " +
				filepath.Join(b.dir, "keys", "id_ed25519") + " -o UserKnownHostsFile=" + filepath.Join(b.dir, "git_known"),
			"git", "-c", "user.name=x", "-c", "user.email=x@good.test",
		}, args...)...)
		if err != nil {
			b.t.Errorf("git %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(out)
	}
	one, two := filepath.Join(b.dir, "one"), filepath.Join(b.dir, "two")
	url := "ssh://root@good.test" + filepath.Join(b.dir, "repo.git")
	git("clone", "-q", url, one)
	must(b.t, os.WriteFile(filepath.Join(one, "data"), data, 0o600))
	git("-C", one, "add", "data")
	git("-C", one, "commit", "-q", "-m", "data")
	git("-C", one, "push", "-q", "origin", "HEAD:main")
	git("clone", "-q", url, two)
	if a, z := git("-C", one, "rev-parse", "HEAD"), git("-C", two, "rev-parse", "HEAD"); a != z || len(a) != 40 {
		b.t.Errorf("pushed %s, cloned %s", a, z)
	}
	git("-C", two, "commit", "-q", "--allow-empty", "-m", "more")
	git("-C", two, "push", "-q", "origin", "HEAD:main")
	git("-C", one, "fetch", "-q", "origin")
	if a, z := git("-C", one, "rev-parse", "FETCH_HEAD"), git("-C", two, "rev-parse", "HEAD"); a != z {
		b.t.Errorf("pushed %s, fetched %s", z, a)
	}
	b.t.Logf("git over SSH: cloned, pushed 8 MiB, cloned them, pushed and fetched in %v", time.Since(begun).Round(time.Millisecond))
}
