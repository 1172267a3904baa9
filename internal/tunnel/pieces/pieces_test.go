package pieces

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// asked is what was read, each time into how large a buffer.
type asked struct {
	come  []int // how many bytes come each time
	sizes []int
	err   error
}

func (a *asked) Read(b []byte) (int, error) {
	a.sizes = append(a.sizes, len(b))
	if len(a.come) == 0 {
		return 0, a.err
	}
	n := copy(b, bytes.Repeat([]byte{byte(len(a.come))}, min(a.come[0], len(b))))
	a.come = a.come[1:]
	return n, nil
}

// TestCopy: a connection has a large buffer while much comes over it, and no longer.
func TestCopy(t *testing.T) {
	const large = 64 << 10
	b := Of(large)
	from := &asked{come: []int{100, Little, large, Little, Little - 1, 1}, err: io.EOF}
	var to bytes.Buffer
	n, err := b.Copy(&to, from)
	if want := int64(100 + Little + large + Little + Little - 1 + 1); err != nil || n != want || int64(to.Len()) != want {
		t.Errorf("%d bytes, %d taken, %v; want %d", n, to.Len(), err, want)
	}
	want := []int{Little, Little, large, large, large, Little, Little}
	if len(from.sizes) != len(want) {
		t.Fatalf("read into %v", from.sizes)
	}
	for i := range want {
		if from.sizes[i] != want[i] {
			t.Fatalf("read into %v; want %v", from.sizes, want)
		}
	}
	if p := b.Get(); len(p) != large {
		t.Errorf("a buffer of %d bytes", len(p))
	}
}

// few takes so many bytes.
type few struct{ left int }

var errFull = errors.New("full")

func (f *few) Write(b []byte) (int, error) {
	n := min(f.left, len(b))
	if f.left -= n; n < len(b) {
		return n, errFull
	}
	return n, nil
}

// TestCopyFails: what fails is returned, with what was taken.
func TestCopyFails(t *testing.T) {
	broken := errors.New("broken")
	if n, err := Of(1<<20).Copy(io.Discard, &asked{come: []int{10, 20}, err: broken}); n != 30 || !errors.Is(err, broken) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := Of(1<<20).Copy(&few{25}, &asked{come: []int{10, 20}, err: io.EOF}); n != 25 || !errors.Is(err, errFull) {
		t.Errorf("%d, %v", n, err)
	}
}
