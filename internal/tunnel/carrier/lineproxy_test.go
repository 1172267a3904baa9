package carrier

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

// bySOCKS opens a connection through the proxy, and has a word echoed over it when its input ends.
const bySOCKS = `import socket, sys
s = socket.create_connection(("127.0.0.1", 1080), 20)
s.sendall(bytes.fromhex("050100") + bytes.fromhex("05010001080808080007"))
got = b""
while len(got) < 12: got += s.recv(12 - len(got))
print("open", got[3] == 0, flush=True)
sys.stdin.read()
s.sendall(b"word")
print(s.recv(4).decode())`

// TestProxyOverALine: where the kernel does not lead to a line what is said to the proxy's ports, the guest's program
// listens there itself as long as there is a line, and connections from before go on.
func TestProxyOverALine(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	b := newBox(t)
	c := carryOver(t, b, gate(t, nettest.Serve(t, hello), "8.8.8.8:7", "good.test:80"), catch.Sshuttle, wire.OverDirect)
	c.line.setBusy(true)
	c.await(catch.Sshuttle)
	fetch := func(what string, yes bool) {
		t.Helper()
		before := c.line.came()
		for _, by := range []string{"socks5h://127.0.0.1:1080", "http://127.0.0.1:3128"} {
			if out, err := b.proxied([]string{"--proxy", by}, "http://good.test/"); err != nil || out != "hello\n" {
				t.Errorf("%s, by %s: %q, %v", what, by, out, err)
			}
		}
		if after := c.line.came(); (after > before) != yes {
			t.Errorf("%s: %d bytes came over the line", what, after-before)
		}
	}
	hold := func() func() string {
		t.Helper()
		line := b.inside("python3", "-c", bySOCKS)
		cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
		in, err := cmd.StdinPipe()
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := bufio.NewReader(out)
		if first, err := said.ReadString('\n'); first != "open True\n" {
			t.Errorf("a connection by SOCKS: %q, %v", first, err)
		}
		return func() string {
			_ = in.Close()
			rest, _ := io.ReadAll(said)
			_ = cmd.Wait() // what it said tells
			return string(rest)
		}
	}
	fetch("without a line", false)
	overSSH := hold()
	c.line.setBusy(false)
	c.awaitReport("the line", func(r wire.Report) bool { return r.Way == catch.Sshuttle && r.Line == wire.OverDirect && r.Proxy })
	fetch("with a line", true)
	if out, err := b.curl("http://good.test/"); err != nil || out != "hello\n" {
		t.Errorf("by sshuttle: %q, %v", out, err)
	}
	if got := overSSH(); got != "word\n" {
		t.Errorf("a connection from before: %q", got)
	}
	overLine := hold()
	c.line.setBusy(true)
	conn, _ := c.line.last()
	must(t, conn.Close())
	c.awaitReport("no line", func(r wire.Report) bool { return r.Way == catch.Sshuttle && r.Line == "" && !r.Proxy })
	if got := overLine(); got != "" && got != "\n" {
		t.Errorf("a connection whose line has ended: %q", got)
	}
	fetch("after the line", false)
	c.line.setBusy(false)
	c.awaitReport("another line", func(r wire.Report) bool { return r.Line != "" && r.Proxy })
	fetch("with another line", true)
	// The kernel leads to the line too.
	c.carrier.SetMethod(catch.Redirect)
	c.awaitReport("redirecting", func(r wire.Report) bool { return r.Way == catch.Redirect && r.Line != "" && !r.Proxy })
	fetch("redirected", true)
	c.carrier.SetMethod(Off)
	c.awaitReport("off", func(r wire.Report) bool { return r.Way == "" && r.Proxy })
	fetch("off", true)
	// A program that is killed leaves the ports to the SSH server.
	c.carrier.SetMethod(catch.Sshuttle)
	c.awaitReport("sshuttle again", func(r wire.Report) bool { return r.Way == catch.Sshuttle && r.Proxy })
	fetch("by sshuttle again", true)
	c.line.setBusy(true)
	if out, err := b.run("pkill", "-9", "-f", b.helper+" tunnel"); err != nil {
		t.Errorf("pkill: %v %s", err, out)
	}
	c.awaitReport("another program", func(r wire.Report) bool { return r.Way == catch.Sshuttle })
	fetch("another program", false)
}

// TestLineWithNothingToCatch: the proxy's ports are served over a line also where nothing was ever to be caught.
func TestLineWithNothingToCatch(t *testing.T) {
	b := newBox(t)
	c := carryOver(t, b, gate(t, nettest.Serve(t, hello), "good.test:80"), Off, wire.OverDirect)
	c.awaitReport("the line", func(r wire.Report) bool { return r.Line == wire.OverDirect && r.Proxy })
	before := c.line.came()
	if out, err := b.proxied([]string{"--proxy", "socks5h://127.0.0.1:1080"}, "http://good.test/"); err != nil || out != "hello\n" {
		t.Errorf("by SOCKS: %q, %v", out, err)
	}
	if c.line.came() == before {
		t.Error("it did not go over the line")
	}
	if out, err := b.run(b.helper, "proxy", "status"); err != nil || !strings.Contains(out, "transparent: off\nbytes: of the proxy, over the direct") {
		t.Errorf("proxy-status: %q, %v", out, err)
	}
	if out, err := b.curl("--connect-timeout", "1", "http://8.8.8.8/"); err == nil {
		t.Errorf("without a proxy, the box reaches %q", out)
	}
}
