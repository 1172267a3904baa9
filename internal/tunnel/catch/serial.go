package catch

import (
	"bufio"
	"context"
	"io"

	"github.com/calmenu/calmenu/internal/guest/serial"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
)

// meetSerial meets the host on the serial port, where that waits for a word.
func (k *keeper) meetSerial(ctx context.Context, word string) (*mux.Session, error) {
	f, err := serial.Open(ctx, k.options.Program, k.options.Serial)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	in := bufio.NewReaderSize(f, mux.Serial.Frame)
	if _, err = io.WriteString(f, word); err == nil {
		err = serial.SkipTo(in, word)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return mux.Client(f, in, mux.Serial, MaxStreams), nil
}
