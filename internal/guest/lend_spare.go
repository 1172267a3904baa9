package guest

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest/standby"
)

// spares is one sort of program in the guest of which one is started before anybody needs it: sshd, a shell and what it
// starts take an emulated guest up to half a second.
type spares struct {
	// begin is the command line that is run ahead; an error means that there is none for this connection.
	begin func(c *Client) (string, error)
	// become tells whether what was run ahead can become what a borrower wants to run, and what it is told first then.
	become func(line string) (first string, ok bool)

	used chan struct{} // holds one: there is no spare any more

	mu    sync.Mutex
	spare *spare
}

// spare is a program that waits in the guest.
type spare struct {
	*guestSession
	of *Client
}

// rootShells are shells of root's. Each waits for one line, which it becomes.
func rootShells() *spares {
	return newSpares(func(c *Client) (string, error) {
		if c.options.User == "root" {
			return "", errors.New("root needs no other shell")
		}
		return Cmd{Argv: c.sudo("sh", "-c", spareScript)}.line()
	}, func(line string) (string, bool) {
		words, ok := strings.CutPrefix(line, sudoPrefix)
		if !ok || strings.HasPrefix(words, "'-") { // an option of sudo's
			return "", false
		}
		return shellLine(words), true
	})
}

// userShells are shells of the user's, for commands that may run in one that was there before.
func userShells() *spares {
	return newSpares(func(*Client) (string, error) {
		return Cmd{Argv: []string{"sh", "-c", spareScript}}.line()
	}, func(line string) (string, bool) {
		words, ok := strings.CutPrefix(line, earlyPrefix+"exec ")
		return shellLine(words), ok
	})
}

// rootHelpers are runs of CALMenu's program by root that wait for what they are to become.
func rootHelpers(name string) *spares {
	return newSpares(func(c *Client) (string, error) {
		return Cmd{Argv: c.sudo(name, standby.Verb)}.line()
	}, func(line string) (string, bool) {
		words, ok := strings.CutPrefix(line, sudoPrefix+Quote([]string{name})+" ")
		if !ok {
			return "", false
		}
		argv, ok := unquote(words)
		return standby.Words(argv), ok
	})
}

// earlyPrefix marks the lines of commands that may run in a shell that was started before. It does nothing.
const earlyPrefix = ": early; "

// shellLine is the line that has spareScript go on as the program that words, of a shell's, name. What is a script for a shell
// of its own is run by this one, which is as good and there already.
func shellLine(words string) string {
	command := "exec " + words
	if argv, ok := unquote(words); ok && len(argv) == 3 && argv[0] == "sh" && argv[1] == "-c" {
		command = "eval " + Quote(argv[2:])
	}
	// Every end of a line is within quotes.
	return strings.ReplaceAll(command, "\n", `'"$n"'`) + "\n"
}

// spareScript reads a command line, in which $n stands for the ends of lines.
const spareScript = "n='\n'\nIFS= read -r command && eval \"$command\""

// sudoPrefix is how the lines of commands begin that a root shell can become: see Client.sudo.
var sudoPrefix = "exec " + Quote([]string{"sudo", "-n"}) + " "

// copies are runs of a command that waits for its input before it does anything.
func copies(cmd Cmd) *spares {
	return newSpares(func(*Client) (string, error) { return cmd.line() }, func(line string) (string, bool) {
		same, err := cmd.line()
		return "", err == nil && line == same
	})
}

func newSpares(begin func(*Client) (string, error), become func(string) (string, bool)) *spares {
	return &spares{begin: begin, become: become, used: make(chan struct{}, 1)}
}

// startSpare has a spare become the command a borrower wants to run. It returns nil if that is to be started anew.
func (l *lender) startSpare(c *Client, r *ssh.Request) *guestSession {
	var exec struct{ Line string } // RFC 4254, 6.5
	if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exec) != nil {
		return nil
	}
	for _, k := range l.spares {
		first, ok := k.become(exec.Line)
		if !ok {
			continue
		}
		s := k.take(c)
		if s == nil {
			continue
		}
		if first != "" {
			if _, err := io.WriteString(s, first); err != nil {
				_ = s.Close()
				continue
			}
		}
		if r.WantReply {
			_ = r.Reply(true, nil)
		}
		return s.guestSession
	}
	return nil
}

// take returns the spare, if there is one that lives on a connection, and has the next one started.
func (k *spares) take(c *Client) *spare {
	k.mu.Lock()
	s := k.spare
	k.spare = nil
	k.mu.Unlock()
	if s == nil {
		return nil
	}
	select {
	case k.used <- struct{}{}:
	default:
	}
	if s.of != c {
		_ = s.Close()
		return nil
	}
	select {
	case <-s.over:
		return nil
	default:
		return s
	}
}

// spareAgain is how long after a spare was used the next one is started, which is to disturb nobody.
const spareAgain = time.Second

// keep sees that there is a spare, until ctx ends. Where none can be had there is none until the connection is another.
func (k *spares) keep(ctx context.Context, client func(context.Context) (*Client, error)) {
	for {
		c, err := client(ctx)
		if err != nil {
			return
		}
		if s, err := k.start(ctx, c); err == nil {
			k.mu.Lock()
			before := k.spare
			k.spare = s
			k.mu.Unlock()
			if before != nil { // of a connection that has ended, or somebody was told of the same use twice
				_ = before.Close()
			}
		}
		select {
		case <-k.used:
		case <-c.Done():
		case <-ctx.Done():
			return
		}
		if !sleep(ctx, spareAgain) {
			return
		}
	}
}

func (k *spares) start(ctx context.Context, c *Client) (*spare, error) {
	line, err := k.begin(c)
	if err != nil {
		return nil, err
	}
	s, err := openGuestSession(ctx, c)
	if err != nil {
		return nil, err
	}
	_, err = await(ctx, c, "start", func() (bool, error) {
		return s.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{line}))
	}, nil)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &spare{s, c}, nil
}
