package tunnel

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"testing"

	"github.com/calmenu/calmenu/internal/nettest"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
)

// TestRelay: what was read of a connection before it is relayed goes first, however often it was looked into, also where the
// rest is passed on from a line's own buffers; the end of each side is passed on, and all is counted.
func TestRelay(t *testing.T) {
	sent := make([]byte, 3<<20)
	_, _ = rand.Read(sent)
	for what, connection := range map[string]func(t *testing.T) (guest, host Stream){
		"a stream of a line": func(t *testing.T) (guest, host Stream) {
			a, b := nettest.Ends(t)
			client := mux.Client(a, bufio.NewReader(a), mux.Network, 1)
			server := mux.Server(b, bufio.NewReader(b), mux.Network, 1)
			t.Cleanup(func() {
				_ = client.Close()
				_ = server.Close()
			})
			st, err := client.Open("somewhere")
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := server.Accept()
			if err != nil {
				t.Fatal(err)
			}
			return st, accepted
		},
		"another connection": func(t *testing.T) (guest, host Stream) {
			a, b := nettest.Ends(t)
			return plain{a}, plain{b}
		},
	} {
		t.Run(what, func(t *testing.T) {
			guest, host := connection(t)
			far, server := nettest.Ends(t)
			go func() {
				_, _ = guest.Write(sent)
				_ = guest.CloseWrite()
			}()
			go func() {
				_, _ = server.Write(sent)
				_ = server.CloseWrite()
			}()
			first := make([]byte, 5)
			if _, err := io.ReadFull(host, first); err != nil {
				t.Fatal(err)
			}
			near := &replayed{&replayed{host, append([]byte("inner"), first...)}, []byte("outer")}
			type counts struct {
				up, down int64
				err      error
			}
			over := make(chan counts, 1)
			go func() {
				up, down, err := relay(near, plain{far})
				over <- counts{up, down, err}
			}()
			got, err := io.ReadAll(guest)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("to the guest: %d bytes, %v", len(got), err)
			}
			want := append([]byte("outerinner"), sent...)
			got, err = io.ReadAll(server)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("from the guest: %d bytes, %v; want %d", len(got), err, len(want))
			}
			if c := <-over; c.err != nil || c.up != int64(len(want)) || c.down != int64(len(sent)) {
				t.Errorf("counted %+v; want %d and %d", c, len(want), len(sent))
			}
		})
	}
}

// plain has no way to be read or written but its own.
type plain struct{ Stream }

// TestNoWayPastTheInspection: what has a better way to be written than Write would be written past the inspection.
func TestNoWayPastTheInspection(t *testing.T) {
	if _, ok := any(&inspected{}).(io.ReaderFrom); ok {
		t.Error("an inspected connection can be written by ReadFrom")
	}
}
