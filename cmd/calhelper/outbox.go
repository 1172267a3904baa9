package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"

	"github.com/calmenu/calmenu/internal/guest/serial"
	"github.com/calmenu/calmenu/internal/sync/outboxer"
)

// outbox looks after the guest's outbox for the host, which says on standard input what it wants. The answers go to standard
// output or, behind a word by which the host knows where they begin, to a serial port.
func outbox(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("outbox", flag.ContinueOnError)
	name := f.String("port", "", "serial port for the answers; standard output by default")
	word := f.String("word", "", "what to say first on that port")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return errors.New("takes no arguments: the host says what it wants on standard input")
	}
	if *name == "" {
		return outboxer.Serve(ctx, os.Stdin, os.Stdout)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	to, err := serial.Open(ctx, program, *name)
	if err != nil {
		return err
	}
	defer to.Close()
	if _, err := io.WriteString(to, *word); err != nil {
		return err
	}
	return outboxer.Serve(ctx, &untilEnd{os.Stdin, to}, to)
}

// untilEnd closes a port when its reader has come to the end: nobody waits for answers then, and unlike a pipe's, its writer
// would never be told.
type untilEnd struct {
	io.Reader
	port io.Closer
}

func (r *untilEnd) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil {
		_ = r.port.Close()
	}
	return n, err
}
