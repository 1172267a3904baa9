package catch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel/mux"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

// Methods of catching.
const (
	Auto     = "auto" // the first of the others that works
	Redirect = "redirect"
	Sshuttle = "sshuttle"

	// Off catches nothing; the proxy's ports are served over a line all the same.
	Off = "off"
)

// hostSilence is how long the host may give no sign of life before it is taken to be gone.
const hostSilence = 45 * time.Second

// Options say where to lead what is caught. All ports are of the guest's loopback, where its SSH server forwards them.
type Options struct {
	Method  string // Auto, Redirect, Sshuttle or Off
	Port    uint16 // for redirected connections while there is no line
	Stream  uint16 // for sshuttle's conversation with its server
	Serial  string // name of the serial port to the host; used when that says so
	Program string // this program's file, for sshuttle to start

	// Proxy are the ports of the host's proxy. Connections to them are led to a line as well, while there is one.
	Proxy []uint16
}

// Run catches the guest's connections until the host ends the conversation (in ends: no error), goes silent, or ctx ends.
func Run(ctx context.Context, o Options, in io.Reader, out io.Writer) error {
	switch o.Method {
	case Auto, Redirect, Sshuttle, Off:
	default:
		return fmt.Errorf("there is no method %q", o.Method)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free, err := takeOver()
	if err != nil {
		return err
	}
	defer free()
	k := &keeper{options: o, out: wire.NewWriter(out), end: cancel, started: time.Now()}
	commands, err := k.listen()
	if err != nil {
		return err
	}
	defer commands.Close()
	k.apply(ctx)
	defer k.undo()
	silence := time.AfterFunc(hostSilence, func() { cancel(errors.New("the host gave no sign of life")) })
	defer silence.Stop()
	go func() { cancel(k.converse(in, silence)) }()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// keeper keeps one method in force.
type keeper struct {
	options Options
	out     *wire.Writer
	end     context.CancelCauseFunc
	started time.Time
	log     log
	origins origins
	wanted  atomic.Pointer[string] // method the host wants and that is not in force yet

	mu     sync.Mutex // guards what follows; held while a method is applied
	method method     // nil: nothing is caught
	filter filter     // nil until something is redirected; kept until the end, for connections that are redirected then
	report wire.Report
	served uint64 // connections led to the host
	line   *line  // nil: what is redirected goes through the SSH server
	proxy  *proxy // nil: the SSH server serves its ports, or the kernel redirects what is said to them
	ended  bool   // nothing is caught any more
}

// method is a way to catch connections that is in force.
type method interface {
	name() string
	answer(id uint32, message []byte)
	stop()
}

// apply has in force what was asked for, and tells the host. A method that fails by itself later is tried again.
func (k *keeper) apply(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.applyLocked(ctx)
}

func (k *keeper) applyLocked(ctx context.Context) {
	if k.ended {
		return
	}
	if k.method != nil {
		k.method.stop()
		k.method = nil
	}
	r := wire.Report{Stopped: stopped(), LineProblem: k.report.LineProblem}
	if !r.Stopped && k.options.Method != Off {
		var err error
		if k.method, err = k.start(ctx); err != nil {
			r.Problem = inOneLine(err)
		}
	}
	if k.method != nil {
		r.Way = k.method.name()
	}
	k.tell(r)
}

func (k *keeper) start(ctx context.Context) (method, error) {
	var redirectErr error
	if k.options.Method != Sshuttle {
		m, err := k.startRedirect(ctx)
		if err == nil {
			return m, nil
		}
		if redirectErr = err; k.options.Method == Redirect {
			return nil, err
		}
		k.log.add("redirecting: %v; trying sshuttle", err)
	}
	m, err := k.startSshuttle(ctx)
	if err != nil {
		return nil, errors.Join(redirectErr, err)
	}
	return m, redirectErr
}

// tell sends the host what holds, if it is news.
func (k *keeper) tell(r wire.Report) {
	k.settleProxy()
	r.Proxy, r.Method = k.proxy != nil, k.options.Method
	r.Line = ""
	if k.line != nil {
		r.Line = k.line.kind
	}
	if r != k.report { // a line that cannot be had is tried again and again
		k.report = r
		k.logReport()
	}
	data, err := json.Marshal(r)
	if err != nil {
		return
	}
	if err := k.out.Send(wire.Frame{Kind: wire.State, Payload: data}); err != nil {
		k.end(err)
	}
}

func (k *keeper) logReport() {
	r := k.report
	what := r.Way + " leads the guest's connections to the host"
	switch {
	case r.Stopped:
		what = "stopped: nothing is caught"
	case r.Way == "" && r.Problem != "":
		what = "nothing is caught: " + r.Problem
	case r.Way == "":
		what = "nothing is caught"
	case r.Way == Redirect && r.Line != "":
		what += ", over the " + string(r.Line)
	}
	if r.LineProblem != "" {
		what += "; there is no line: " + r.LineProblem
	}
	k.log.add("%s", what)
}

// setMethod catches by another method, soon. Connections that exist are left alone.
func (k *keeper) setMethod(method string) {
	k.wanted.Store(&method)
	go func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if last := k.wanted.Swap(nil); last != nil { // else another one has had it applied
			k.options.Method = *last
			k.applyLocked(context.Background())
		}
	}()
}

// undo puts everything back, for good.
func (k *keeper) undo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if k.method != nil {
		k.method.stop()
		k.method = nil
	}
	if k.filter != nil {
		ctx, cancel := context.WithTimeout(context.Background(), undoTime)
		defer cancel()
		_ = k.filter.close(ctx) // nobody is left to be told
	}
}

func (k *keeper) present() method {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.method
}

func (k *keeper) presentLine() *line {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.line
}

// converse does what the host asks until it ends.
func (k *keeper) converse(in io.Reader, silence *time.Timer) error {
	r := wire.NewReader(in)
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		silence.Reset(hostSilence)
		switch f.Kind {
		case wire.Answer:
			if m := k.present(); m != nil {
				m.answer(f.ID, f.Payload)
			}
		case wire.Origin:
			if err := k.out.Send(wire.Frame{Kind: wire.Reply, ID: f.ID, Payload: k.origin(f.Payload)}); err != nil {
				return err
			}
		case wire.Alive:
			if err := k.out.Send(f); err != nil {
				return err
			}
		case wire.Method:
			k.setMethod(string(f.Payload))
		case wire.Port:
			go k.useLine(wire.OverSerial, func(ctx context.Context) (*mux.Session, error) {
				return k.meetSerial(ctx, string(f.Payload))
			})
		case wire.Direct:
			go k.useDirect(f)
		case wire.Question, wire.Reply, wire.State:
			return fmt.Errorf("%w: the host does not say %q", wire.ErrFrame, byte(f.Kind))
		}
	}
}

func (k *keeper) origin(from []byte) []byte {
	near, err := netip.ParseAddrPort(string(from))
	if err != nil {
		return nil
	}
	to := k.origins.of(near)
	if !to.IsValid() {
		return nil
	}
	k.mu.Lock()
	k.served++
	k.mu.Unlock()
	return []byte(to.String())
}

// stateDir is emptied when the guest starts: what was stopped is stopped until then. (On Linux it is /run/calmenu.)
const stateDir = "/var/run/calmenu"

func stopped() bool {
	_, err := os.Stat(stateDir + "/stopped")
	return err == nil
}

func setStopped(yes bool) error {
	if !yes {
		err := os.Remove(stateDir + "/stopped")
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	return os.WriteFile(stateDir+"/stopped", nil, 0o644)
}
