package carrier

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// how tells in a word how a connection ended for who read it to its end.
func how(err error) string {
	switch {
	case err == nil:
		return "end"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	}
	return err.Error()
}

// endings are what a program in the guest does to a connection; each prints what it saw. What the server does is in the
// first four bytes.
var endings = map[string]func() error{
	"server resets": func() error {
		conn, err := say("RSET")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.ReadAll(conn)
		fmt.Println(how(err))
		return nil
	},
	"server ends first": func() error {
		conn, err := say("HALF")
		if err != nil {
			return err
		}
		defer conn.Close()
		got, err := io.ReadAll(conn)
		if err != nil || string(got) != "bye" {
			return fmt.Errorf("read %q, %w", got, err)
		}
		if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		fmt.Println("end, and its own word after it")
		return conn.CloseWrite()
	},
	"guest resets": func() error {
		conn, err := held()
		if err != nil {
			return err
		}
		_ = conn.SetLinger(0)
		fmt.Println("gone")
		return conn.Close()
	},
	"held": func() error {
		conn, err := held()
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Println("open")
		_, err = io.ReadAll(conn)
		fmt.Println(how(err))
		return nil
	},
	"no answer": func() error {
		conn, err := net.Dial("tcp", "8.8.8.8:9")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.ReadAll(conn)
		fmt.Println(how(err))
		return nil
	},
}

func say(word string) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(conn, word)
	return conn.(*net.TCPConn), err
}

// held opens a connection that the server leaves open.
func held() (*net.TCPConn, error) {
	conn, err := say("HOLD")
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(conn, make([]byte, 4))
	return conn, err
}

// ender is the server for endings, and an echo and web server beside that.
type ender struct {
	saw chan string // how connections ended for it
}

func (e *ender) serve(conn *net.TCPConn) {
	in := bufio.NewReader(conn)
	first, _ := in.Peek(4)
	switch string(first) {
	case "RSET":
		_ = conn.SetLinger(0) // closing it resets it
	case "HALF":
		_, _ = io.WriteString(conn, "bye")
		_ = conn.CloseWrite()
		n, err := io.Copy(io.Discard, in)
		e.saw <- fmt.Sprintf("%d bytes, %s", n-4, how(err))
	case "HOLD":
		_, _ = io.WriteString(conn, "held")
		_, err := io.Copy(io.Discard, in)
		e.saw <- how(err)
	default:
		sayHello(conn, in)
	}
}

// endTime is how long a test waits for news of an end before it takes it to hang.
const endTime = 30 * time.Second

func (e *ender) seen(t testing.TB, what string) string {
	t.Helper()
	select {
	case s := <-e.saw:
		return s
	case <-time.After(endTime):
		t.Errorf("%s: the server saw no end within %v", what, endTime)
		return "nothing"
	}
}

// ending starts one of the endings, in the box or, with the server's address, past the tunnel.
func ending(t testing.TB, b *box, what, past string) *exec.Cmd {
	t.Helper()
	line := []string{os.Args[0]}
	if past == "" {
		line = b.inside(line...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*endTime)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "CAL_TEST_LOAD="+what, "CAL_TEST_TARGET="+past)
	return cmd
}

// testEndings compares how connections end through the tunnel with how they do past it. SSH and sshuttle know no reset:
// one becomes an end, at once. Half a connection goes on.
func testEndings(t *testing.T, b *box, e *ender, past string) {
	for _, c := range []struct {
		what   string
		server bool // sees an end as well
		same   bool // as past the tunnel
	}{
		{what: "server resets"},
		{what: "server ends first", server: true, same: true},
		{what: "guest resets", server: true},
	} {
		var saw [2]string
		for i, at := range []string{past, ""} {
			begun := time.Now()
			out, err := ending(t, b, c.what, at).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			saw[i] = "guest: " + strings.TrimSpace(string(out))
			if c.server {
				saw[i] += "; server: " + e.seen(t, c.what)
			}
			t.Logf("%s, %s: %s, after %v", c.what, []string{"past the tunnel", "through it"}[i], saw[i],
				time.Since(begun).Round(time.Millisecond))
		}
		allowed := saw[0]
		if !c.same {
			allowed = strings.ReplaceAll(allowed, "reset", "end")
		}
		if saw[1] != saw[0] && saw[1] != allowed {
			t.Errorf("%s: %s past the tunnel, %s through it", c.what, saw[0], saw[1])
		}
	}
}

// testCut ends the connection to the guest under one that is open: neither of its ends is left with half of it.
func testCut(t *testing.T, c *carried, e *ender, method string) {
	hold := ending(t, c.box, "held", "")
	out, err := hold.StdoutPipe()
	must(t, err)
	must(t, hold.Start())
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); line != "open\n" {
		t.Errorf("a connection to be cut: %q, %v", line, err)
	}
	client, err := c.link.Client(t.Context())
	must(t, err)
	begun := time.Now()
	must(t, client.Close())
	server := e.seen(t, "the connection to the guest cut")
	rest, _ := io.ReadAll(said)
	if err := hold.Wait(); err != nil {
		t.Errorf("a connection that was cut: %v: %s", err, rest)
	}
	t.Logf("the connection to the guest cut: guest: %s; server: %s, after %v", strings.TrimSpace(string(rest)), server,
		time.Since(begun).Round(time.Millisecond))
	c.await(method)
}

// unanswered has a program in the box dial what never answers; the function it returns waits for the end of that.
func unanswered(t testing.TB, b *box) func() {
	begun := time.Now()
	cmd := ending(t, b, "no answer", "")
	var said []byte
	var took time.Duration
	over := make(chan error, 1)
	go func() {
		var err error
		said, err = cmd.CombinedOutput()
		took = time.Since(begun)
		over <- err
	}()
	return func() {
		if err := <-over; err != nil {
			t.Errorf("a connection that nobody answers: %v: %s", err, said)
		}
		t.Logf("a connection that nobody answers: %s, after %v", strings.TrimSpace(string(said)), took.Round(100*time.Millisecond))
	}
}
