package catch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const socketFile = stateDir + "/tunnel.sock"

// commandTime bounds one command, which may have to wait for sshuttle.
const commandTime = 3 * time.Minute

// listen serves the guest's own commands (proxy-start and so on).
func (k *keeper) listen() (net.Listener, error) {
	if err := os.Remove(socketFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", socketFile)
	if err != nil {
		return nil, fmt.Errorf("listening for commands: %w", err)
	}
	// Whoever may become root here may give commands; sudo says who that is.
	if gid, err := strconv.Atoi(os.Getenv("SUDO_GID")); err == nil {
		_ = os.Chown(socketFile, 0, gid)
		_ = os.Chmod(socketFile, 0o660)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go k.command(conn)
		}
	}()
	return l, nil
}

func (k *keeper) command(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(commandTime))
	words, err := bufio.NewReader(io.LimitReader(conn, 256)).ReadString('\n')
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, k.do(strings.Fields(words)))
}

// do obeys a command and says what holds then.
func (k *keeper) do(words []string) string {
	if len(words) == 0 {
		return "say what to do\n"
	}
	switch words[0] {
	case "status":
	case "log":
		return k.log.String()
	case "stop":
		if err := setStopped(true); err != nil {
			return inOneLine(err) + "\n"
		}
		k.apply(context.Background())
	case "start", "restart":
		if err := setStopped(false); err != nil {
			return inOneLine(err) + "\n"
		}
		if len(words) > 1 {
			switch words[1] {
			case Auto, Redirect, Sshuttle:
			default:
				return fmt.Sprintf("there is no method %q; there are auto, redirect and sshuttle\n", words[1])
			}
			k.mu.Lock()
			k.options.Method = words[1]
			k.mu.Unlock()
		}
		if m := k.present(); words[0] == "restart" || len(words) > 1 || m == nil {
			k.apply(context.Background())
		}
	default:
		return fmt.Sprintf("there is no command %q\n", words[0])
	}
	return k.status()
}

func (k *keeper) status() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	switch {
	case k.report.Way != "":
		fmt.Fprintf(&b, "transparent: on, by %s; programs need no proxy settings\n", k.report.Way)
	case k.report.Stopped:
		b.WriteString("transparent: stopped in this guest; proxy-start starts it\n")
	default:
		b.WriteString("transparent: off\n")
	}
	switch {
	case k.report.Line == "":
	case k.report.Proxy:
		fmt.Fprintf(&b, "bytes: of the proxy, over the %s\n", k.report.Line)
	default:
		fmt.Fprintf(&b, "bytes: over the %s\n", k.report.Line)
	}
	if k.report.Problem != "" {
		fmt.Fprintf(&b, "problem: %s\n", k.report.Problem)
	}
	fmt.Fprintf(&b, "host: connected for %v, %d connections led to it\n", time.Since(k.started).Round(time.Second), k.served)
	b.WriteString("proxy: http://127.0.0.1:3128, socks5h://127.0.0.1:1080\n")
	return b.String()
}

// Command gives a command to the program that runs in this guest and prints its answer.
func Command(ctx context.Context, words []string, out io.Writer) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socketFile)
	if err != nil {
		return errors.New("nothing is caught: CALMenu on the host is not connected, or the network's transparent mode is off " +
			"for this workspace")
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := fmt.Fprintln(conn, strings.Join(words, " ")); err != nil {
		return err
	}
	_, err = io.Copy(out, conn)
	return err
}

// log keeps the last lines of what happened.
type log struct {
	mu    sync.Mutex // guards lines
	lines []string
}

const logLines = 200

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	l.lines = append(l.lines, time.Now().Format("2006-01-02 15:04:05 ")+text)
	if len(l.lines) > logLines {
		l.lines = l.lines[len(l.lines)-logLines:]
	}
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return ""
	}
	return strings.Join(l.lines, "\n") + "\n"
}

// inOneLine is an error's text in one line.
func inOneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
