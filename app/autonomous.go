package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/vm"
)

// AutonomousOptions say what an agent is to do by itself.
type AutonomousOptions struct {
	Workspace string
	Agent     string // identifier; empty: the workspace's own
	// Prompt is the work. Empty: what is at work already is followed.
	Prompt string
	// Deadline is when it is ended; 0: session.autonomous_deadline.
	Deadline time.Duration
	// AcceptBroken launches although isolation is not proven.
	AcceptBroken bool
}

// DeadlineExit is the exit code of an agent that was ended at its deadline, as that of timeout(1).
const DeadlineExit = 124

// autonomousGrace is how long an agent may take to end before it is killed.
const autonomousGrace = 10 * time.Second

var (
	// ErrAtWork is returned if the agent works by itself already.
	ErrAtWork = errors.New("it is at work already")
	// ErrNotAtWork is returned if there is nothing to follow.
	ErrNotAtWork = errors.New("it is not at work")
	// ErrGone is returned if the agent ended without an exit code: its machine was stopped or rolled back.
	ErrGone = errors.New("it ended without an exit code")
)

// Autonomous has an agent work on a prompt with nobody at the terminal: its standard input is at its end, its output is
// written to out and to a file of the workspace as plain text, and at the deadline it is ended. The steps are those of a
// session: proven isolation, the session snapshot, the installation. It returns the agent's exit code.
//
// A lost connection does not end the agent: it is followed again as soon as the guest can be reached. The end of ctx
// does end it. If this process is killed the agent works on until its deadline, and can be followed again.
func (a *App) Autonomous(ctx context.Context, o AutonomousOptions, out io.Writer, p vm.Progress) (int, error) {
	w, ag, err := a.workspaceAgent(o.Workspace, o.Agent)
	if err != nil {
		return -1, err
	}
	if o.Deadline == 0 {
		o.Deadline = w.Session.AutonomousDeadline
	}
	r := &autonomous{App: a, w: w, ag: ag, dir: ".cal/autonomous/" + ag.ID, deadline: o.Deadline, p: p}
	if o.Prompt != "" {
		if r.argv, err = ag.HeadlessCommand(o.Prompt); err != nil {
			return -1, err
		}
	}
	if m, err := a.Driver.Machine(ctx, w.Name); o.Prompt == "" && (err != nil || !m.Running) {
		return -1, r.notAtWork()
	}
	exit := -1
	err = a.withGuest(ctx, w.Name, p, func(ctx context.Context, c *guest.Client, _ *config.Workspace) error {
		r.c = c
		defer func() { _ = r.c.Close() }()
		alive, err := r.alive(ctx, c)
		switch {
		case err != nil:
			return err
		case alive && o.Prompt != "":
			return hint.Wrap(fmt.Errorf("starting %s in %q: %w", ag.Name, w.Name, ErrAtWork),
				"Follow it: CALMenu session "+w.Name+" --agent "+ag.ID+" --autonomous (Ctrl-C ends it)")
		case !alive && o.Prompt == "":
			return r.notAtWork()
		case !alive:
			if err := a.provenOrAccepted(ctx, w, ag, o.AcceptBroken); err != nil {
				return err
			}
			if err := r.prepare(ctx); err != nil {
				return err
			}
		}
		exit, err = r.run(ctx, out, !alive)
		return err
	})
	return exit, err
}

// provenOrAccepted refuses a launch where isolation is not proven and the person has not accepted that.
func (a *App) provenOrAccepted(ctx context.Context, w *config.Workspace, ag *agent.Agent, accepted bool) error {
	s, err := a.State(ctx)
	if err != nil {
		return err
	}
	x, _ := s.Find(w.Name)
	switch x.Isolation.Level {
	case isolation.Verified, isolation.Weakened:
		return nil
	}
	if accepted {
		return nil
	}
	return hint.Wrap(fmt.Errorf("launching %s in %q: %w: %s", ag.Name, w.Name, ErrBroken, x.Isolation.Reason),
		"CALMenu isolation "+w.Name+" shows the evidence. To launch all the same: --i-accept-no-isolation")
}

// autonomous is one agent at work by itself.
type autonomous struct {
	*App
	w        *config.Workspace
	ag       *agent.Agent
	argv     []string
	dir      string // in the guest, below its user's home
	deadline time.Duration
	p        vm.Progress
	c        *guest.Client // the connection now
}

func (r *autonomous) notAtWork() error {
	return hint.Wrap(fmt.Errorf("following %s in %q: %w", r.ag.Name, r.w.Name, ErrNotAtWork),
		"To have it work by itself, add --prompt TEXT")
}

func (r *autonomous) perl(ctx context.Context, c guestConn, script string, args ...string) (guest.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.answerTime())
	defer cancel()
	return c.Output(ctx, guest.Cmd{
		Argv: append([]string{"perl", "-e", script, r.dir}, args...), Limit: 16 << 10,
		Env: map[string]string{"CAL_VM": "true", "CAL_WORKSPACE": r.w.Name, "TERM": "dumb", "NO_COLOR": "1"},
	})
}

func (r *autonomous) alive(ctx context.Context, c guestConn) (bool, error) {
	res, err := r.perl(ctx, c, autonomousAlive)
	if err != nil {
		return false, fmt.Errorf("looking whether %s is at work: %w", r.ag.Name, err)
	}
	return res.Exit == 0, nil
}

// prepare takes the session snapshot and installs the agent.
func (r *autonomous) prepare(ctx context.Context) error {
	if r.w.Snapshots.AutoOnSessionStart {
		if err := r.SessionSnapshot(ctx, r.c, r.w, r.p); err != nil {
			return fmt.Errorf("taking the session snapshot: %w", err)
		}
		var err error
		if r.c, err = r.afterSnapshot(ctx, r.w, r.c); err != nil {
			return err
		}
	}
	return r.install(ctx, r.c, r.w, r.ag, r.p)
}

// run starts the agent unless it is at work, and follows it to its end.
func (r *autonomous) run(ctx context.Context, out io.Writer, fresh bool) (int, error) {
	log, err := r.openLog(fresh)
	if err != nil {
		return -1, err
	}
	defer func() { _ = log.Close() }()
	id := journal.NewID()
	err = r.Journal.Append(journal.Event{
		Kind: journal.SessionBegin, Workspace: r.w.Name, Op: id, Agent: r.ag.ID, Detail: "autonomous",
	})
	if err != nil {
		return -1, err
	}
	exit := -1
	if fresh {
		err = r.start(ctx, r.c)
	}
	if err == nil {
		exit, err = r.follow(ctx, io.MultiWriter(out, log))
	}
	end := journal.Event{Kind: journal.SessionEnd, Workspace: r.w.Name, Op: id, Agent: r.ag.ID, Exit: exit}
	if err == nil && exit == DeadlineExit {
		end.Detail = "ended at its deadline"
	}
	return exit, errors.Join(err, r.Journal.Append(end))
}

// maxAutonomousLog is how much of one run's output is kept on the host.
const maxAutonomousLog = 64 << 20

// AutonomousLog is the file on the host an agent's output goes to while it works by itself.
func (a *App) AutonomousLog(name, id string) string {
	return filepath.Join(a.Home.WorkspaceDir(name), "autonomous-"+id+".log")
}

func (r *autonomous) openLog(fresh bool) (io.WriteCloser, error) {
	name := r.AutonomousLog(r.w.Name, r.ag.ID)
	if fresh {
		// What the run before left stays beside it.
		if err := os.Rename(name, name+".before"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("setting the last log aside: %w", err)
		}
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", r.ag.Name, err)
	}
	return &cappedFile{File: f, left: maxAutonomousLog}, nil
}

func (r *autonomous) start(ctx context.Context, c guestConn) error {
	r.p.Report(vm.Phase{Name: "starting " + r.ag.Name})
	limit := strconv.FormatInt(int64(max(r.deadline.Round(time.Second)/time.Second, 1)), 10)
	grace := strconv.FormatInt(int64(autonomousGrace/time.Second), 10)
	res, err := r.perl(ctx, c, autonomousStart, append([]string{limit, grace}, agent.InGuest(r.argv)...)...)
	switch {
	case err != nil:
		return fmt.Errorf("starting %s: %w", r.ag.Name, err)
	case res.Exit == autonomousBusy:
		return fmt.Errorf("starting %s in %q: %w", r.ag.Name, r.w.Name, ErrAtWork)
	case res.Exit != 0:
		return fmt.Errorf("starting %s: exit code %d: %s", r.ag.Name, res.Exit, plainText(string(res.Stderr)))
	}
	r.p.Report(vm.Phase{Name: fmt.Sprintf("%s is at work, for %s at most", r.ag.Name, r.deadline)})
	return nil
}

// follow hands on the agent's output until it has ended, over as many connections as it takes.
func (r *autonomous) follow(ctx context.Context, out io.Writer) (int, error) {
	text := &textWriter{w: out}
	var offset int64
	for {
		count := &countingWriter{w: text}
		exit, err := r.c.Stream(ctx, guest.Cmd{
			Argv: []string{"perl", "-e", autonomousFollow, r.dir, strconv.FormatInt(offset, 10)},
		}, count, nil)
		offset += count.n
		switch {
		case ctx.Err() != nil || text.err != nil:
			// Nobody is there any more who would read it.
			r.stop(ctx, r.c)
			return -1, fmt.Errorf("following %s: %w", r.ag.Name, errors.Join(ctx.Err(), text.err))
		case err == nil && exit == 0:
			text.flush()
			return r.exitCode(ctx, r.c)
		case err == nil:
			text.flush()
			return -1, hint.Wrap(fmt.Errorf("following %s in %q: %w", r.ag.Name, r.w.Name, ErrGone),
				"If the VM was stopped or rolled back, that was the reason.")
		case r.c.Err() == nil:
			return -1, fmt.Errorf("following %s: %w", r.ag.Name, err)
		}
		fresh, err := r.comeBack(ctx, r.w, r.p)
		if err != nil {
			return -1, err
		}
		_ = r.c.Close()
		r.c = fresh
	}
}

func (r *autonomous) exitCode(ctx context.Context, c guestConn) (int, error) {
	askCtx, cancel := context.WithTimeout(ctx, r.answerTime())
	defer cancel()
	res, err := c.Output(askCtx, guest.Cmd{Argv: []string{"cat", r.dir + "/exit"}, Limit: 256})
	if err != nil {
		return -1, fmt.Errorf("asking how %s ended: %w", r.ag.Name, err)
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(res.Stdout)))
	if err != nil || code < 0 || code > 255 {
		return -1, fmt.Errorf("asking how %s ended: %w", r.ag.Name, ErrGone)
	}
	return code, nil
}

// stop ends the agent, in the time a person waits after Ctrl-C. If the guest cannot be told, the deadline ends it.
func (r *autonomous) stop(ctx context.Context, c guestConn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if res, err := r.perl(ctx, c, autonomousStop); err != nil || res.Exit != 0 {
		r.Log.Warn().Str("workspace", r.w.Name).Str("agent", r.ag.ID).Err(err).Msg("ending an autonomous agent")
	}
}

// textWriter passes a guest's output on as plain text, line by line. Of a line that was written over, as progress is,
// the last version counts.
type textWriter struct {
	w    io.Writer
	err  error // the first failure to pass it on
	rest []byte
}

func (t *textWriter) Write(b []byte) (int, error) {
	t.rest = append(t.rest, b...)
	for t.err == nil {
		i := bytes.IndexByte(t.rest, '\n')
		if i < 0 {
			if len(t.rest) < maxLineBytes {
				break
			}
			t.line(t.rest)
			t.rest = nil
			break
		}
		t.line(t.rest[:i])
		t.rest = t.rest[i+1:]
	}
	return len(b), t.err
}

func (t *textWriter) flush() {
	if len(t.rest) > 0 && t.err == nil {
		t.line(t.rest)
	}
	t.rest = nil
}

func (t *textWriter) line(raw []byte) {
	s := strings.TrimRight(string(raw), "\r")
	s = s[strings.LastIndexByte(s, '\r')+1:]
	if _, err := io.WriteString(t.w, plainText(s)+"\n"); err != nil {
		t.err = fmt.Errorf("writing the agent's output: %w", err)
	}
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// cappedFile takes so many bytes and drops the rest: a guest must not fill the host's disk.
type cappedFile struct {
	*os.File
	left int64
}

func (f *cappedFile) Write(b []byte) (int, error) {
	if f.left <= 0 {
		return len(b), nil
	}
	take := b[:min(int64(len(b)), f.left)]
	f.left -= int64(len(take))
	if _, err := f.File.Write(take); err != nil {
		return 0, err
	}
	return len(b), nil
}
