package mux

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inParts is a connection that takes a frame in two parts.
type inParts struct {
	net.Conn
	writing sync.Mutex
}

func (c *inParts) WriteParts(first, second []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := (&net.Buffers{first, second}).WriteTo(c.Conn)
	return err
}

// pair is a session with both its ends.
func pair(t testing.TB, most int) (guest, host *Session) {
	t.Helper()
	a, b := net.Pipe()
	return joined(t, a, b, Serial, most)
}

func joined(t testing.TB, a, b net.Conn, sizes Sizes, most int) (guest, host *Session) {
	t.Helper()
	guest, host = Client(a, bufio.NewReader(a), sizes, most), Server(b, bufio.NewReader(b), sizes, most)
	t.Cleanup(func() { _, _ = guest.Close(), host.Close() })
	return guest, host
}

// opened is a stream's both ends.
func opened(t testing.TB, guest, host *Session) (g, h *Stream) {
	t.Helper()
	g, err := guest.Open("192.0.2.7:443")
	must(t, err)
	h, err = host.Accept()
	must(t, err)
	return g, h
}

// count waits until a session has so many streams.
func count(t testing.TB, s *Session, n int) {
	t.Helper()
	left := -1
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		left = len(s.streams)
		s.mu.Unlock()
		if left == n {
			return
		}
	}
	t.Errorf("%d streams, want %d", left, n)
}

// TestBytesBothWays: many streams at once, each gets its own bytes and its own ends.
func TestBytesBothWays(t *testing.T) {
	t.Run("serial", func(t *testing.T) {
		guest, host := pair(t, 40)
		testBytes(t, guest, host)
	})
	t.Run("network", func(t *testing.T) {
		a, b := net.Pipe()
		guest, host := joined(t, &inParts{Conn: a}, &inParts{Conn: b}, Network, 40)
		testBytes(t, guest, host)
	})
}

func testBytes(t *testing.T, guest, host *Session) {
	t.Helper()
	var echoes sync.WaitGroup
	echoes.Go(func() {
		for {
			st, err := host.Accept()
			if err != nil {
				return
			}
			echoes.Go(func() {
				_, _ = io.Copy(st, st)
				_ = st.CloseWrite()
				_ = st.Close()
			})
		}
	})
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			sent := make([]byte, 1+i*30_000)
			_, _ = rand.Read(sent)
			st, err := guest.Open(fmt.Sprint(i))
			if err != nil {
				t.Error(err)
				return
			}
			defer st.Close()
			go func() {
				_, _ = st.Write(sent)
				_ = st.CloseWrite()
			}()
			got, err := io.ReadAll(st)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("stream %d: %d bytes of %d came back, or others: %v", i, len(got), len(sent), err)
			}
		})
	}
	all.Wait()
	count(t, guest, 0)
	count(t, host, 0)
	_ = guest.Close()
	echoes.Wait()
}

// TestWriteTo: who passes on what comes, however slowly, gets all of it in order while more comes, and the ring grows.
func TestWriteTo(t *testing.T) {
	for what, sizes := range map[string]Sizes{"serial": Serial, "network": Network} {
		t.Run(what, func(t *testing.T) {
			a, b := net.Pipe()
			guest, host := joined(t, a, b, sizes, 4)
			g, h := opened(t, guest, host)
			sent := make([]byte, 5*sizes.Window+12345)
			_, _ = rand.Read(sent)
			go func() {
				for at, n := 0, 1; at < len(sent); at, n = at+n, 2*n+1 {
					n = min(n, len(sent)-at)
					if _, err := g.Write(sent[at : at+n]); err != nil {
						t.Error(err)
						return
					}
				}
				_ = g.CloseWrite()
			}()
			var got slowly
			if n, err := h.WriteTo(&got); err != nil || n != int64(len(sent)) || !bytes.Equal(got.Bytes(), sent) {
				t.Errorf("%d bytes of %d came, or others: %v", n, len(sent), err)
			}
			// What fails, or is closed, ends it.
			g, h = opened(t, guest, host)
			_, err := g.Write([]byte("word"))
			must(t, err)
			if _, err := h.WriteTo(failing{}); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("to where nothing can be written: %v", err)
			}
			g, h = opened(t, guest, host)
			_, err = g.Write([]byte("word"))
			must(t, err)
			if _, err := h.WriteTo(closing{h}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("closed meanwhile: %v", err)
			}
			if _, err := g.WriteTo(io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("closed at the other end: %v", err)
			}
		})
	}
}

// slowly lets others go on before and after it keeps what is written.
type slowly struct{ bytes.Buffer }

func (s *slowly) Write(b []byte) (int, error) {
	time.Sleep(100 * time.Microsecond)
	n, err := s.Buffer.Write(b)
	time.Sleep(100 * time.Microsecond)
	return n, err
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// closing closes a stream while something of it is written.
type closing struct{ st *Stream }

func (c closing) Write(b []byte) (int, error) { return len(b), c.st.Close() }

// TestHalfOfAConnection: each direction ends by itself, and a close ends both.
func TestHalfOfAConnection(t *testing.T) {
	guest, host := pair(t, 4)
	g, h := opened(t, guest, host)
	if h.Target() != "192.0.2.7:443" {
		t.Errorf("leads to %q", h.Target())
	}
	_, err := h.Write([]byte("bye"))
	must(t, err)
	must(t, h.CloseWrite())
	if got, err := io.ReadAll(g); err != nil || string(got) != "bye" {
		t.Errorf("%q, %v", got, err)
	}
	_, err = g.Write([]byte("more"))
	must(t, err)
	_, err = io.ReadFull(h, make([]byte, 4))
	must(t, err)
	if _, err := h.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written after the end: %v", err)
	}
	cut := make(chan struct{})
	h.OnCut(func() { close(cut) })
	_, err = g.Write([]byte("last"))
	must(t, err)
	must(t, g.Close())
	<-cut
	if got, err := io.ReadAll(h); string(got) != "last" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %q, %v", got, err)
	}
	if _, err := g.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after it was closed: %v", err)
	}
	must(t, h.Close())
	count(t, guest, 0)
	count(t, host, 0)
}

// TestWhoDoesNotReadHoldsUpNoOther: a stream takes a window, and the others go on.
func TestWhoDoesNotReadHoldsUpNoOther(t *testing.T) {
	guest, host := pair(t, 4)
	g, h := opened(t, guest, host)
	wrote := make(chan error, 1)
	go func() {
		_, err := g.Write(make([]byte, 3*Serial.Window))
		wrote <- err
	}()
	other, echo := opened(t, guest, host)
	go func() { _, _ = io.Copy(echo, echo) }()
	sent := bytes.Repeat([]byte("x"), 2*Serial.Window)
	go func() { _, _ = other.Write(sent) }()
	got := make([]byte, len(sent))
	_, err := io.ReadFull(other, got)
	must(t, err)
	select {
	case err := <-wrote:
		t.Errorf("all was written to who does not read: %v", err)
	default:
	}
	h.mu.Lock()
	held := h.wait.size
	h.mu.Unlock()
	if held > Serial.Window {
		t.Errorf("%d bytes are held", held)
	}
	must(t, h.Close()) // its writer is told
	if err := <-wrote; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("writing to what is closed: %v", err)
	}
	must(t, g.Close())
	count(t, guest, 1)
	count(t, host, 1)
}

// TestFull: the guest's end opens no more than agreed on.
func TestFull(t *testing.T) {
	guest, host := pair(t, 2)
	g, h := opened(t, guest, host)
	opened(t, guest, host)
	if _, err := guest.Open("one more"); !errors.Is(err, ErrFull) {
		t.Errorf("a third: %v", err)
	}
	must(t, g.Close())
	must(t, h.Close())
	count(t, guest, 1)
	opened(t, guest, host)
}

func frame(id uint32, k kind, n int, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	b = binary.BigEndian.AppendUint32(b, uint32(k)<<24|uint32(n))
	return append(b, payload...)
}

// TestNonsense: what makes no sense ends the session, with all that waits for something of it, and is not kept.
func TestNonsense(t *testing.T) {
	first := frame(1, open, 1, "x")
	opens := first
	for i := range uint32(3 + grace) {
		opens = append(opens, frame(2+i, open, 1, "x")...)
	}
	floods := first
	for range Serial.Window/Serial.Frame + 1 {
		floods = append(floods, frame(1, data, Serial.Frame, string(make([]byte, Serial.Frame)))...)
	}
	for what, said := range map[string][]byte{
		"text":                      []byte("HTTP/1.1 200 OK\r\n\r\n"),
		"another kind":              append(first, frame(1, 'z', 0, "")...),
		"no such stream":            frame(1, data, 1, "x"),
		"opened twice":              append(first, first...),
		"more streams than allowed": opens,
		"a long target":             frame(1, open, maxTarget+1, string(make([]byte, maxTarget+1))),
		"more than a window":        floods,
		"a long frame":              append(first, frame(1, data, Serial.Frame+1, "")...),
		"data of no bytes":          append(first, frame(1, data, 0, "")...),
		"data after its end":        append(append(first, frame(1, end, 0, "")...), frame(1, data, 1, "x")...),
		"data after a close":        append(append(first, frame(1, closed, 0, "")...), frame(1, data, 1, "x")...),
		"more credit than a window": append(first, frame(1, credit, 1, "")...),
	} {
		t.Run(what, func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			host := Server(b, bufio.NewReader(b), Serial, 2)
			defer host.Close()
			go func() { _, _ = a.Write(said) }()
			<-host.Done()
			if err := host.Err(); !errors.Is(err, ErrFrame) {
				t.Errorf("ended by %v", err)
			}
			for len(host.accepted) > 0 {
				st := <-host.accepted
				if _, err := io.Copy(io.Discard, st); err == nil && what != "data after its end" {
					t.Error("a stream ended as if nothing were wrong")
				}
				if _, err := st.Write([]byte("x")); err == nil {
					t.Error("a stream can be written to")
				}
				_ = st.Close()
			}
		})
	}
	a, b := net.Pipe()
	defer a.Close()
	guest := Client(a, bufio.NewReader(a), Serial, 2)
	go func() { _, _ = b.Write(first) }()
	<-guest.Done()
	if err := guest.Err(); !errors.Is(err, ErrFrame) {
		t.Errorf("the host opens a stream: %v", err)
	}
	_ = b.Close()
}

// TestNobodyReads: an end that does not read what it is told, or stops in the midst of a frame, keeps nobody from closing
// streams and the session.
func TestNobodyReads(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	host := Server(b, bufio.NewReader(b), Serial, 2)
	_, err := a.Write(append(frame(1, open, 1, "x"), frame(1, data, 100, "half")...))
	must(t, err)
	st, err := host.Accept()
	must(t, err)
	var blocked sync.WaitGroup
	blocked.Go(func() { _, _ = st.Write([]byte("never read")) })
	blocked.Go(func() { _, _ = io.Copy(io.Discard, st) })
	blocked.Go(func() { _ = st.Close() })
	must(t, host.Close())
	blocked.Wait()
	if _, err := host.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting from what is closed: %v", err)
	}
}

// FuzzServer: whatever the guest says, the session ends when that ends, and has kept no more than it may.
func FuzzServer(f *testing.F) {
	f.Add(frame(1, open, 1, "x"))
	f.Add(append(frame(1, open, 1, "x"), frame(1, data, 3, "abc")...))
	f.Add(append(frame(1, open, 1, "x"), frame(1, closed, 0, "")...))
	f.Fuzz(func(t *testing.T, said []byte) {
		a, b := net.Pipe()
		host := Server(b, bufio.NewReader(b), Serial, 2)
		var served sync.WaitGroup
		served.Go(func() {
			for {
				st, err := host.Accept()
				if err != nil {
					return
				}
				served.Go(func() {
					_, _ = io.Copy(io.Discard, st)
					_ = st.Close()
				})
			}
		})
		served.Go(func() { _, _ = io.Copy(io.Discard, a) })
		_, _ = a.Write(said)
		_ = a.Close()
		<-host.Done()
		_ = host.Close()
		served.Wait()
		if len(host.streams) != 0 {
			t.Errorf("%d streams are left", len(host.streams))
		}
	})
}
