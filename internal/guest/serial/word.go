package serial

import (
	"crypto/rand"
	"errors"
	"io"
)

// maxStale bounds what an earlier user of a port may have left in it, in bytes: Linux holds 128 blocks of 32 KiB, QEMU and the
// socket less.
const maxStale = 16 << 20

// firstByte begins a word and does not come again in it: rand.Text has letters and digits.
const firstByte = "\x01"

// Word returns a word nobody has said before: what follows it on a port is from who was told it, and not what an earlier
// user left there.
func Word() string { return firstByte + rand.Text() }

// SkipTo reads up to the end of a Word. It gives up after what an earlier user cannot have left.
func SkipTo(r io.ByteReader, word string) error {
	matched := 0
	for range maxStale {
		b, err := r.ReadByte()
		if err != nil {
			return err
		}
		switch b {
		case word[matched]:
			matched++
		case word[0]:
			matched = 1
		default:
			matched = 0
		}
		if matched == len(word) {
			return nil
		}
	}
	return errors.New("the first word on the port does not come")
}
