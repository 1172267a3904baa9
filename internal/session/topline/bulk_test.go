package topline

import (
	"testing"

	"pgregory.net/rapid"
)

// bytesNear draws bytes of which most are in a range, so that runs of it are long enough for words of eight.
func bytesNear(t *rapid.T, from, to byte) []byte {
	return rapid.SliceOfN(rapid.OneOf(
		rapid.ByteRange(from, to), rapid.ByteRange(from, to), rapid.ByteRange(from, to), rapid.ByteRange(from, to),
		rapid.ByteRange(from, to), rapid.ByteRange(from, to), rapid.ByteRange(from, to), rapid.Byte(),
	), 0, 40).Draw(t, "bytes")
}

func TestPrintableIsWhatIsPrintableByteByByte(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := bytesNear(rt, 0x20, 0x7e)
		want := 0
		for want < len(p) && p[want] >= 0x20 && p[want] < 0x7f {
			want++
		}
		if got := printable(p); got != want {
			rt.Fatalf("%q: %d bytes, want %d", p, got, want)
		}
	})
}

func TestAWholeSequenceIsWhatItIsByteByByte(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := bytesNear(rt, 0x20, 0x3f)
		if rapid.IntRange(0, 9).Draw(rt, "long") == 0 {
			long := make([]byte, rapid.IntRange(maxCSI-9, maxCSI+9).Draw(rt, "length"))
			for i := range long {
				long[i] = '1'
			}
			p = append(long, p...)
		}
		want := 0
		for i, b := range p {
			if b >= 0x40 && b <= 0x7e {
				want = i + 1
			}
			if b < 0x20 || b >= 0x40 || i >= maxCSI {
				break
			}
		}
		if got := wholeCSI(p); got != want {
			rt.Fatalf("%q: %d bytes, want %d", p, got, want)
		}
	})
}
