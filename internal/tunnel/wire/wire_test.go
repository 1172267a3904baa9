package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	sent := []Frame{{Question, 1, []byte("hello")}, {Alive, 0, nil}, {Reply, 1 << 31, bytes.Repeat([]byte{7}, MaxPayload)}}
	for _, f := range sent {
		if err := w.Send(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Send(Frame{State, 0, make([]byte, MaxPayload+1)}); !errors.Is(err, ErrFrame) {
		t.Errorf("sent a frame that is too long: %v", err)
	}
	r := NewReader(&b)
	for _, want := range sent {
		got, err := r.Next()
		if err != nil || got.Kind != want.Kind || got.ID != want.ID || !bytes.Equal(got.Payload, want.Payload) {
			t.Errorf("got %c %d, %v", got.Kind, got.ID, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("q\x00\x00\x00\x01\x00\x05hello"))
	f.Add([]byte("x\x00\x00\x00\x01\x00\x05hello"))
	f.Add([]byte("q\x00\x00\x00\x01\xff\xffhello"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		for read := 0; ; {
			frame, err := r.Next()
			if err != nil {
				return
			}
			if read += headerLength + len(frame.Payload); read > len(data) || len(frame.Payload) > MaxPayload {
				t.Fatalf("read %d of %d bytes", read, len(data))
			}
		}
	})
}
