package guest

import (
	"bytes"
	"crypto/rand"
	"io"
	"testing"
	"time"
)

// TestPacketsOfEverySize: no packet waits for the next one, whatever its size.
func TestPacketsOfEverySize(t *testing.T) {
	c := startSSHD(t).connect()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Stream(t.Context(), Cmd{Argv: []string{"cat"}, Stdin: inR}, outW, nil)
		_ = outW.CloseWithError(err)
		ended <- err
	}()
	late := time.AfterFunc(time.Minute, func() {
		t.Error("a packet did not arrive")
		_ = outR.Close()
		_ = inW.Close()
	})
	defer late.Stop()
	data := make([]byte, 64<<10)
	_, _ = rand.Read(data)
	got := make([]byte, len(data))
	var sizes []int
	for n := packetPart - 64; n <= packetPart+64; n++ {
		sizes = append(sizes, n, 2*packetPart-64+n-packetPart)
	}
	for _, n := range append(sizes, 1, 2<<10, 32<<10-1, 32<<10, 32<<10+1, len(data)) {
		_, err := inW.Write(data[:n])
		must(t, err)
		_, err = io.ReadFull(outR, got[:n])
		must(t, err)
		if !bytes.Equal(got[:n], data[:n]) {
			t.Fatalf("%d bytes came back as others", n)
		}
	}
	must(t, inW.Close())
	must(t, wait(t, "the command", ended))
}
