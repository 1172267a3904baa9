package sync

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/serial"
	"github.com/calmenu/calmenu/internal/sync/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// OverPort is the transport by the helper where its answers come over a serial port of the guest's machine instead of SSH:
// open opens the host's end. An error says that there is no such way now; nothing has been asked for then.
func OverPort(ctx context.Context, c Client, o Options, open func(context.Context) (net.Conn, error)) (Transport, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	cmd, err := HelperCommand(c.GuestOS())
	if err != nil {
		return nil, err
	}
	t := &helperTransport{r: &portRunner{c, open}, o: o, argv: cmd.Argv}
	if _, err := t.start(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// portRunner has what a helper says come over a serial port.
type portRunner struct {
	r    Runner
	open func(context.Context) (net.Conn, error)
}

// Stream runs the helper and hands on what it says on the port, to out, from its word on.
func (p *portRunner) Stream(ctx context.Context, cmd guest.Cmd, out, problems io.Writer) (int, error) {
	conn, err := p.open(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	word := serial.Word()
	said := make(chan struct{})
	go func() {
		defer close(said)
		r := bufio.NewReaderSize(conn, wire.MaxPayload)
		err := serial.SkipTo(r, word)
		if err == nil {
			_, err = r.WriteTo(out)
		}
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		cancel(fmt.Errorf("reading the guest's serial port: %w", err)) // the helper is of no use without it
	}()
	cmd.Argv = append(append([]string{}, cmd.Argv...), "-port", vm.OutboxPort, "-word", word)
	exit, err := p.r.Stream(ctx, cmd, silent{}, problems)
	if errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	_ = conn.Close()
	<-said // nothing is handed on any more
	return exit, err
}

// silent is the output of a helper that has nothing to say on it.
type silent struct{}

func (silent) Write([]byte) (int, error) { return 0, errProtocol }
