package carrier

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
)

// Addresses of the two ends of the cable (RFC 5737).
const (
	hostEnd  = "192.0.2.1"
	guestEnd = "192.0.2.2"
	bothEnds = "192.0.2.255" // the cable's broadcast address
)

// inOwnNetwork runs a test in a network namespace that nothing else is in, beside others; it returns true there.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv("CAL_TEST_OWN_NETWORK") != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace of its own")
	}
	for _, p := range []string{"unshare", "ip", "nft", "ss", "tcpdump"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-c", `ip link set lo up && exec "$@"`, "sh",
		os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.count=1")
	if end, ok := t.Deadline(); ok {
		cmd.Args = append(cmd.Args, "-test.timeout", time.Until(end).String())
	}
	cmd.Env = append(os.Environ(), "CAL_TEST_OWN_NETWORK=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in a network of its own: %v", err)
	}
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skip("it skipped itself there")
	}
	return false
}

// command runs a program on the host's side.
func command(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// cable leads from the host to the box, whose SSH server listens at its end: what is sent over it can be seen, and lost.
func (b *box) cable() {
	b.t.Helper()
	inside := func(argv ...string) { command(b.t, b.inside(argv...)...) }
	command(b.t, "ip", "link", "add", "host0", "type", "veth", "peer", "name", "guest0", "netns", strconv.Itoa(b.pid))
	command(b.t, "ip", "link", "set", "host0", "addrgenmode", "none", "up")
	command(b.t, "ip", "addr", "add", hostEnd+"/24", "dev", "host0")
	inside("ip", "link", "set", "guest0", "addrgenmode", "none", "up")
	inside("ip", "addr", "add", guestEnd+"/24", "dev", "guest0")
	// What is lost is lost by who receives it.
	const table = "add table inet cable; add chain inet cable lost { type filter hook input priority -300; }"
	command(b.t, "nft", table)
	inside("nft", table)
	b.at = net.JoinHostPort(guestEnd, "22")
	line := b.inside("/usr/sbin/sshd", "-D", "-e", "-o", "ListenAddress="+b.at, "-f", filepath.Join(b.dir, "sshd_config"))
	must(b.t, b.start(exec.Command(line[0], line[1:]...)))
	for range 200 {
		conn, err := net.Dial("tcp", b.at)
		if err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.t.Fatal("the box's SSH server does not listen")
}

// lose has so many packets of a thousand of SSH lost, each way.
func (b *box) lose(perMille int) {
	b.t.Helper()
	which := fmt.Sprintf("numgen random mod 1000 < %d", perMille)
	if perMille == 1000 {
		which = ""
	}
	rules := "flush chain inet cable lost"
	if perMille > 0 {
		for _, port := range []string{"sport", "dport"} {
			rules += "; add rule inet cable lost tcp " + port + " 22 " + which + " counter drop"
		}
	}
	command(b.t, "nft", rules)
	command(b.t, b.inside("nft", rules)...)
}

// lost is how many packets were.
func (b *box) lost() int {
	n := 0
	for _, line := range [][]string{{"nft", "list", "chain", "inet", "cable", "lost"}, b.inside("nft", "list", "chain", "inet", "cable", "lost")} {
		f := strings.Fields(command(b.t, line...))
		for i, word := range f {
			if word == "packets" {
				k, _ := strconv.Atoi(f[i+1])
				n += k
			}
		}
	}
	return n
}

// capture records what passes the cable until the function it returns is called, which returns the file. Its last packet
// is a mark, a datagram to everybody. Without immediate mode the kernel keeps packets back for up to a second, and who
// ends tcpdump before has none of them.
func capture(t testing.TB) func() string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cable.pcap")
	cmd := exec.Command("tcpdump", "-i", "host0", "--immediate-mode", "-U", "-s", "96", "-Z", "root", "-w", file)
	said, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(said); ; {
		if !lines.Scan() {
			t.Fatal("tcpdump ended")
		}
		if strings.Contains(lines.Text(), "listening on") {
			break
		}
	}
	const mark = "here the capture ends"
	return func() string {
		t.Helper()
		conn, err := net.Dial("udp", net.JoinHostPort(bothEnds, "9"))
		must(t, err)
		_, err = conn.Write([]byte(mark))
		must(t, err)
		must(t, conn.Close())
		for limit := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			recorded, err := os.ReadFile(file)
			must(t, err)
			if bytes.Contains(recorded, []byte(mark)) {
				break
			}
			if time.Now().After(limit) {
				t.Fatalf("tcpdump did not record the mark; %d bytes of others", len(recorded))
			}
		}
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
		return file
	}
}

// TestNothingButSSH: while the guest uses the network, nothing listens on the host but the servers that stand for the
// internet, and nothing passes between the two but SSH connections that the host opens.
func TestNothingButSSH(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	b := newBox(t)
	b.cable()
	outside := nettest.Serve(t, hello)
	stop := capture(t)
	before := command(t, "ss", "-Hltnu")
	c := carry(t, b, gate(t, outside, "good.test:80", "8.8.8.8:7"), catch.Redirect)
	for _, method := range []string{catch.Redirect, catch.Sshuttle} {
		c.carrier.SetMethod(method)
		c.await(method)
		if out, err := b.curl("http://good.test/"); err != nil || out != "hello\n" {
			t.Errorf("good.test: %q, %v", out, err)
		}
		b.load("bulk", 2, 1)
		b.load("names", 100, 1)
		if out, err := b.curl("http://8.8.4.4/"); err == nil {
			t.Errorf("8.8.4.4: %q", out)
		}
		if after := command(t, "ss", "-Hltnu"); after != before {
			t.Errorf("%s: on the host listen\n%s, before\n%s", method, after, before)
		}
	}
	t.Logf("ss -ltnup on the host:\n%s", command(t, "ss", "-Hltnup"))
	file := stop()
	const unmarked = "not dst host " + bothEnds
	count := func(filter string) int {
		out, err := exec.Command("tcpdump", "-nn", "-r", file, unmarked+" and "+filter).Output()
		must(t, err)
		return bytes.Count(out, []byte("\n"))
	}
	const opens = "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn and src host "
	all, ssh, arp := count("greater 0"), count("tcp port 22 and host "+guestEnd), count("arp")
	opened, back := count(opens+hostEnd), count(opens+guestEnd)
	t.Logf("between host and guest: %d packets, of SSH %d, ARP %d; connections opened by the host %d, by the guest %d",
		all, ssh, arp, opened, back)
	if ssh == 0 || opened == 0 || all != ssh+arp || back != 0 {
		t.Errorf("other packets:\n%s", command(t, "tcpdump", "-nn", "-r", file, unmarked+" and not tcp port 22 and not arp"))
	}
}

// TestLostPackets: what is carried is slower where packets are lost between host and guest, and goes on when all were.
func TestLostPackets(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	b := newBox(t)
	b.cable()
	c := carry(t, b, gate(t, nettest.Serve(t, hello), "good.test:80", "8.8.8.8:7"), catch.Redirect)
	c.await(catch.Redirect)
	use := b.idle()
	for _, perMille := range []int{0, 10, 50} {
		b.lose(perMille)
		t.Logf("of 1000 packets %d are lost", perMille)
		b.load("bulk", 2, 1)
		b.load("many", 40, 8)
		t.Logf("%d packets were lost", b.lost())
	}
	outage := time.Duration(nettest.Count("CAL_TEST_OUTAGE_S", 3)) * time.Second
	again := func(what string, begun time.Time) {
		t.Helper()
		for limit := time.Now().Add(90 * time.Second); ; {
			out, err := b.run("curl", "-sS", "--max-time", "2", "http://good.test/")
			if err == nil && out == "hello\n" {
				t.Logf("all packets lost for %v, %s: works again after %v", outage, what, time.Since(begun).Round(10*time.Millisecond))
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("%s: %q, %v", what, out, err)
			}
		}
	}
	b.lose(1000)
	time.Sleep(outage)
	b.lose(0)
	again("nobody told the host", time.Now())
	if err := use(); err != nil && outage < 20*time.Second { // the guest is not given up before
		t.Error(err)
	}
	b.lose(1000)
	c.link.Check(false) // as when the host's network has changed
	time.Sleep(outage)
	b.lose(0)
	again("the host was told of a change", time.Now())
}
