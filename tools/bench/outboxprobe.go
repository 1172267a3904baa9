package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/qemu"
)

// outboxVerb is what this program is called with to bring an outbox in as `CALMenu sync` does; see runOutbox.
const outboxVerb = "outbox"

// outboxOrder is what to bring in, from where.
type outboxOrder struct {
	From endpoint
	Lent string // socket of the process that lends its connection, as CALMenu borrows it; empty: one of its own
	Dir  string // of the server
	// Machines is the directory of the QEMU machine Machine, which what is much comes over a serial port of; empty: it is none.
	Machines, Machine string
	Dest              string
	State             string
	Helper            string // the helper's file on the server; empty: put it there
	Tar               bool   // by the guest's own programs
	Watch             bool   // until standard input ends
}

func (o outboxOrder) command(ctx context.Context, self string) *exec.Cmd {
	order, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and bools
	}
	return exec.CommandContext(ctx, self, outboxVerb, string(order))
}

func runOutbox(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("an order is needed")
	}
	var o outboxOrder
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	options := outbox.Options{
		Workspace: "bench", GuestDir: o.Dir, Dest: o.Dest, State: o.State,
		Limits: outbox.Limits{MaxFile: 2 << 30, MaxTotal: 100 << 30, MaxFiles: 50_000},
	}
	// As `CALMenu sync`: while it connects, the pass reads what it remembers.
	var c *guest.Client
	t := outbox.Later(func(ctx context.Context) (_ outbox.Transport, err error) {
		if o.Lent != "" {
			return o.borrow(ctx, options, &c)
		}
		if c, err = o.From.connect(ctx); err != nil {
			return nil, err
		}
		switch {
		case o.Tar:
			return outbox.OverTar(c, options)
		case o.Helper != "":
			return outbox.OverHelper(c, options, o.Helper, outbox.HelperVerb)
		}
		t, err := outbox.OverSSH(ctx, c, options)
		if err != nil {
			return nil, err
		}
		return o.withPort(t, c, options), nil
	})
	defer func() {
		if c != nil {
			_ = c.Close() // first, as `CALMenu sync` does
		}
		_ = t.Close()
	}()
	answers := json.NewEncoder(os.Stdout)
	if !o.Watch {
		r, err := outbox.Once(ctx, t, options, nil)
		if err != nil {
			return err
		}
		return answers.Encode(outboxAnswer{Landed: len(r.Landed), Unchanged: r.Unchanged, Refused: len(r.Refused)})
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	err := outbox.Watch(ctx, t, options, func(r outbox.Report) {
		for _, a := range r.Landed {
			_ = answers.Encode(outboxAnswer{Name: a.Name, At: time.Now()}) // whoever reads it sees what is missing
		}
	}, nil)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// borrow is how `CALMenu sync` comes by its transport while the agent looks after the guest. *c is to be closed.
func (o outboxOrder) borrow(ctx context.Context, options outbox.Options, c **guest.Client) (outbox.Transport, error) {
	g, err := o.From.options()
	if err != nil {
		return nil, err
	}
	if *c, err = guest.Borrow(ctx, o.Lent, g); err != nil {
		return nil, err
	}
	t, err := outbox.OverSSH(ctx, *c, options)
	if err != nil {
		return nil, err
	}
	t = outbox.WithAside(t, outbox.OwnConnection(func(ctx context.Context) (outbox.Transport, error) {
		own, err := o.From.connect(ctx) // it ends with this process
		if err != nil {
			return nil, err
		}
		return outbox.OverSSH(ctx, own, options)
	}))
	return o.withPort(t, *c, options), nil
}

// withPort has what is much come over a serial port, as `CALMenu sync` does.
func (o outboxOrder) withPort(t outbox.Transport, c *guest.Client, options outbox.Options) outbox.Transport {
	if o.Machines == "" {
		return t
	}
	d := qemu.New(qemu.Options{Dir: o.Machines})
	return outbox.WithAside(t, outbox.SerialPort(c, options, func(ctx context.Context) (net.Conn, error) {
		return d.DialSerial(ctx, o.Machine, vm.OutboxPort)
	}))
}

// outboxAnswer is a line of its output.
type outboxAnswer struct {
	Landed, Unchanged, Refused int
	Name                       string    // of what has landed, while watching
	At                         time.Time // when that was known
}
