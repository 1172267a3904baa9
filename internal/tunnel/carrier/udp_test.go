package carrier

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/nettest"
)

// speakUDP sends three datagrams, of several sizes, from one socket, and prints what comes back within a while.
const speakUDP = `import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[3]))
s.connect((sys.argv[1], int(sys.argv[2])))
for text in ("one", "two" * 300, "three"):
    s.send(text.encode())
    try:
        print(s.recv(4096) == text.encode())
    except TimeoutError:
        print("silence")`

// TestStockSshuttleUDP: with its method tproxy, stock sshuttle catches UDP as well, which is judged as everything else is.
// CALMenu's program has it use nft, which does not; here it is started by hand.
func TestStockSshuttleUDP(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	b := newBox(t)
	at := nettest.ServeUDP(t, func(said []byte) []byte { return said })
	c := carry(t, b, gateTo(t, map[string]string{"7": at, "9": at}, "8.8.8.8:7"), Off)
	c.await("")
	command(t, b.inside("sh", "-c", "ip route add local default dev lo table 100 && ip rule add fwmark 1 lookup 100")...)
	line := b.inside("sshuttle", "--method", "tproxy", "--disable-ipv6", "-e", b.helper+" pipe "+strconv.Itoa(streamPort), "-r", "calmenu",
		"-x", "127.0.0.0/8", "-x", "10.0.2.0/24", "0/0")
	cmd := exec.Command(line[0], line[1:]...)
	out, err := cmd.StderrPipe()
	must(t, err)
	must(t, b.start(cmd))
	said := bufio.NewScanner(out)
	for said.Scan() && !strings.Contains(said.Text(), "Connected to server") {
		t.Log(said.Text())
	}
	if err := said.Err(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for said.Scan() { // it stops if nobody reads what it says
		}
	}()
	const echoed = "True\nTrue\nTrue\n"
	got := ""
	for limit := time.Now().Add(time.Minute); got != echoed && time.Now().Before(limit); { // it says so before its rules are there
		got, err = b.run("python3", "-c", speakUDP, "8.8.8.8", "7", "2")
	}
	if err != nil || got != echoed {
		t.Errorf("what is allowed: %q, %v", got, err)
	}
	if got, err := b.run("python3", "-c", speakUDP, "8.8.8.8", "9", "0.5"); err != nil || got != strings.Repeat("silence\n", 3) {
		t.Errorf("what nobody allowed: %q, %v", got, err)
	}
}
