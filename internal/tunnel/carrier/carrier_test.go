package carrier

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

// load runs a load in the box.
func (b *box) load(what string, n, width int) {
	b.t.Helper()
	begun := time.Now()
	line := b.inside(os.Args[0])
	cmd := exec.CommandContext(b.t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "CAL_TEST_LOAD="+what, "CAL_TEST_N="+strconv.Itoa(n), "CAL_TEST_WIDTH="+strconv.Itoa(width))
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Errorf("%s of %d: %v: %s", what, n, err, out)
	}
	b.t.Logf("%s of %d, %d at once: %v %s", what, n, width, time.Since(begun).Round(time.Millisecond), strings.TrimSpace(string(out)))
}

// idle opens a connection in the box that says nothing until the function it returns is called, which uses it.
func (b *box) idle() func() error { return b.open("idle") }

// busy opens a connection in the box that carries bytes until the function it returns is called.
func (b *box) busy() func() error { return b.open("busy") }

func (b *box) open(what string) func() error {
	b.t.Helper()
	line := b.inside(os.Args[0])
	cmd := exec.CommandContext(b.t.Context(), line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "CAL_TEST_LOAD="+what)
	in, err := cmd.StdinPipe()
	must(b.t, err)
	out, err := cmd.StdoutPipe()
	must(b.t, err)
	must(b.t, cmd.Start())
	said := bufio.NewReader(out)
	if first, err := said.ReadString('\n'); first != "open\n" {
		b.t.Errorf("a connection, %s: %q, %v", what, first, err)
	}
	return func() error {
		_ = in.Close()
		rest, _ := io.ReadAll(said)
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("a connection, %s: %w: %s", what, err, rest)
		}
		return nil
	}
}

// listening are the ports something on the host listens on, apart from the test's own servers.
func listening(t testing.TB) string {
	t.Helper()
	var all []string
	for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(f)
		must(t, err)
		for line := range strings.Lines(string(data)) {
			if w := strings.Fields(line); len(w) > 9 && w[3] == "0A" {
				inode := w[9]
				if holds(inode) {
					all = append(all, w[1])
				}
			}
		}
	}
	return strings.Join(all, " ")
}

// holds tells whether this process has a socket.
func holds(inode string) bool {
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// curl fetches without any proxy setting.
func (b *box) curl(args ...string) (string, error) {
	return b.run(append([]string{"curl", "-sS", "--max-time", "20"}, args...)...)
}

// askFromOnePort asks for the address of good.test, always from the same port: the kernel remembers for a while where what
// comes from there is led.
const askFromOnePort = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 40000))
s.settimeout(20)
s.connect(("8.8.8.8", 53))
s.send(bytes.fromhex("123401000001000000000000") + b"\x04good\x04test\x00\x00\x01\x00\x01")
print(s.recv(512)[7])`

func testTransparent(t *testing.T, method string, over wire.Line) {
	if !inOwnNetwork(t) {
		return
	}
	b := newBox(t)
	e := &ender{saw: make(chan string, 8)}
	outside := nettest.Serve(t, e.serve)
	servers := map[string]string{"7": outside, "9": nowhere, "22": b.gitServer(), "80": outside, "443": outside}
	g := gateTo(t, servers, "good.test:22", "good.test:80", "good.test:443", "8.8.8.8:7", "8.8.8.8:9")
	if out, err := b.curl("--connect-timeout", "1", "http://8.8.8.8/"); err == nil {
		t.Fatalf("before, the box reaches %q", out)
	}
	if out, err := b.run("getent", "ahostsv4", "good.test"); err == nil {
		t.Fatalf("before, the box resolves %q", out)
	}
	before := listening(t)
	c := carryOver(t, b, g, method, over)
	c.await(method)
	if after := listening(t); after != before {
		t.Errorf("the host listens on %s, before on %s", after, before)
	}

	opened, use, answered := time.Now(), b.idle(), func() {}
	if method == catch.Redirect && over == "" { // the gate is the same, and it takes a while
		answered = unanswered(t, b)
	}
	if out, err := b.curl("http://good.test/"); err != nil || out != "hello\n" {
		t.Errorf("good.test: %q, %v", out, err)
	}
	if out, err := b.curl("--proxy", "socks5h://127.0.0.1:1080", "http://good.test/"); err != nil || out != "hello\n" {
		t.Errorf("by SOCKS: %q, %v", out, err)
	}
	if out, err := b.curl("--proxy", "http://127.0.0.1:3128", "http://good.test/"); err != nil || out != "hello\n" {
		t.Errorf("by proxy: %q, %v", out, err)
	}
	for _, refused := range [][]string{
		{"curl", "-sS", "--max-time", "60", "http://8.8.4.4/"},         // nothing allows it
		{"curl", "-sS", "--max-time", "60", "http://good.test:23/"},    // not this port
		{"curl", "-sS", "--max-time", "60", "http://evil.test/"},       // not this name
		{"curl", "-sS", "--max-time", "60", "http://also.test/"},       // a name on the same address
		{"curl", "-sS", "--max-time", "60", "http://127.0.0.1:3129/"},  // the port itself
		{"curl", "-sS", "--max-time", "60", "http://[2001:db8::1]/"},   // IPv6
		{"curl", "-sS", "--max-time", "60", "http://169.254.169.254/"}, // metadata
		{"getent", "ahostsv4", "also.test"},
	} {
		begun := time.Now()
		if out, err := b.run(refused...); err == nil {
			t.Errorf("%v: %q", refused, out)
		}
		took := time.Since(begun)
		t.Logf("%v: refused after %v", refused, took.Round(time.Millisecond))
		if took > 30*time.Second {
			t.Errorf("%v took %v to be refused", refused, took)
		}
	}
	// UDP that is not for names: an error at once, not a silence.
	if out, err := b.run("python3", "-c", "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"+
		"s.settimeout(30)\ns.connect(('8.8.8.8',443))\n"+
		"try:\n s.send(b'x')\n s.recv(9)\n print('answered')\nexcept TimeoutError:\n print('silence')\nexcept OSError as e:\n print('refused')"); err != nil || out != "refused\n" {
		t.Errorf("UDP: %q, %v", out, err)
	}
	b.load("many", nettest.Count("CAL_TEST_CONNECTIONS", 300), nettest.Count("CAL_TEST_AT_ONCE", 60))
	b.load("bulk", nettest.Count("CAL_TEST_BULK_MIB", 8), 1)
	asked := func(when string) {
		if method != catch.Redirect {
			return // sshuttle's affair
		}
		if out, err := b.run("python3", "-c", askFromOnePort); err != nil || out != "1\n" {
			t.Errorf("a name, %s: %q, %v", when, out, err)
		}
	}
	asked("at first")
	b.load("names", nettest.Count("CAL_TEST_LOOKUPS", 500), 1)
	b.git()
	testEndings(t, b, e, outside)
	answered()
	time.Sleep(time.Until(opened.Add(time.Duration(nettest.Count("CAL_TEST_IDLE_S", 0)) * time.Second)))
	t.Logf("a connection that said nothing for %v", time.Since(opened).Round(time.Second))
	if err := use(); err != nil {
		t.Error(err)
	}
	if c.line != nil {
		testLine(t, c, e)
	}
	testCut(t, c, e, method)

	status := func(command string, args ...string) string {
		out, err := b.run(append([]string{b.helper, "proxy", command}, args...)...)
		if err != nil {
			t.Errorf("proxy %s: %v: %s", command, err, out)
		}
		return out
	}
	if out := status("status"); !strings.Contains(out, "on, by "+method) {
		t.Errorf("status: %s", out)
	}
	leave := func() error { return nil } // sshuttle's connections end with it
	if method == catch.Redirect {
		leave = b.busy()
	}
	if out := status("stop"); !strings.Contains(out, "stopped") {
		t.Errorf("stop: %s", out)
	}
	if out, err := b.curl("--connect-timeout", "1", "http://8.8.8.8/"); err == nil {
		t.Errorf("stopped, the box still reaches %q", out)
	}
	if out, err := b.curl("--proxy", "socks5h://127.0.0.1:1080", "http://good.test/"); err != nil || out != "hello\n" {
		t.Errorf("stopped, by SOCKS: %q, %v", out, err)
	}
	if out := status("start"); !strings.Contains(out, "on, by "+method) {
		t.Errorf("start: %s", out)
	}
	if err := leave(); err != nil {
		t.Errorf("carrying bytes while the command stopped and started it: %v", err)
	}
	asked("started again")
	if out := status("log"); !strings.Contains(out, "stopped") {
		t.Errorf("log: %s", out)
	}
	var again []string
	if method == catch.Sshuttle { // the kernel remembers too, but another sshuttle is not where that leads: a resolver asks again
		again = []string{"--retry", "3", "--retry-delay", "1", "--retry-all-errors", "--no-show-error"}
	}
	if out, err := b.curl(append(again, "http://good.test/")...); err != nil || out != "hello\n" {
		t.Errorf("started again: %q, %v", out, err)
	}
	// Switched off on the host, nothing is led anywhere or refused.
	for len(c.reports) > 0 {
		<-c.reports
	}
	c.carrier.SetMethod(Off)
	c.await("")
	rules, err := b.run("nft", "list", "ruleset")
	if err != nil || strings.Contains(rules, "redirect") || strings.Contains(rules, "reject") {
		t.Errorf("rules that stay: %s, %v", rules, err)
	}
}

func TestRedirect(t *testing.T) { testTransparent(t, catch.Redirect, "") }

// TestSerialPort: as TestRedirect, over a serial port.
func TestSerialPort(t *testing.T) { testTransparent(t, catch.Redirect, wire.OverSerial) }

// TestDirectConnection: as TestRedirect, over a direct connection.
func TestDirectConnection(t *testing.T) { testTransparent(t, catch.Redirect, wire.OverDirect) }

func TestStockSshuttle(t *testing.T) { testTransparent(t, catch.Sshuttle, "") }

// TestRecovery: connections that end, freeze or are stolen heal by themselves.
func TestRecovery(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	b := newBox(t)
	c := carry(t, b, gate(t, nettest.Serve(t, hello), "8.8.8.8:7", "good.test:80"), catch.Redirect)
	c.await(catch.Redirect)
	works := func(what string, begun time.Time) {
		t.Helper()
		limit := time.Now().Add(90 * time.Second)
		for {
			out, err := b.curl("http://good.test/")
			if err == nil && out == "hello\n" {
				t.Logf("%s: works again after %v", what, time.Since(begun).Round(10*time.Millisecond))
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("%s: %q, %v", what, out, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	works("at first", time.Now())

	server := func() *exec.Cmd {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.servers[len(b.servers)-1]
	}
	begun := time.Now()
	_ = server().Process.Kill()
	works("server killed", begun)

	client, err := c.link.Client(t.Context())
	must(t, err)
	begun = time.Now()
	must(t, client.Close())
	works("connection closed", begun)

	// The server no longer answers, as one does whose host slept: the host looks when it wakes.
	frozen := server()
	for _, pid := range tree(frozen.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	begun = time.Now()
	c.link.Check(false)
	works("server frozen, its ports taken from it", begun)

	begun = time.Now()
	out, err := b.run("pkill", "-9", "-f", b.helper+" tunnel")
	if err != nil {
		t.Errorf("pkill: %v %s", err, out)
	}
	works("the guest's program killed", begun)
}

// tree is a process with its descendants.
func tree(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		data, _ := os.ReadFile("/proc/" + strconv.Itoa(all[i]) + "/task/" + strconv.Itoa(all[i]) + "/children")
		for f := range strings.FieldsSeq(string(data)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}
