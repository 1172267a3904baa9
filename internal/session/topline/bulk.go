package topline

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// printable returns how many bytes at the start of p are printable ASCII, eight at a time: of the bytes of a word, none
// has its high bit set, before or after 1 is added (DEL) or 0x20 subtracted (controls). The first that has is not
// disturbed by what is carried, which goes upwards.
func printable(p []byte) int {
	const high, ones, spaces = 0x8080808080808080, 0x0101010101010101, 0x2020202020202020
	n := 0
	for ; n+8 <= len(p); n += 8 {
		w := binary.LittleEndian.Uint64(p[n:])
		if others := (w | (w + ones) | (w - spaces)) & high; others != 0 {
			return n + bits.TrailingZeros64(others)/8
		}
	}
	for n < len(p) && p[n] >= 0x20 && p[n] < 0x7f {
		n++
	}
	return n
}

// brokenRune returns how many bytes at the start of p are the beginning of a character that does not go on.
func brokenRune(p []byte) int {
	n := 1
	for n < len(p) && n < utf8.UTFMax && !utf8.FullRune(p[:n]) && !utf8.FullRune(p[:n+1]) {
		n++
	}
	return n
}

// wholeCSI returns the length of the control sequence at the start of p, introducer excluded and final byte included,
// or 0 if it is not complete or not of the plain kind. What comes before the final byte is of 0x20 to 0x3f.
func wholeCSI(p []byte) int {
	n := 0
	if len(p) >= 16 { // nearly all are shorter than that
		if n = parameters(p); n == 8 {
			n += parameters(p[8:])
		}
	}
	for n < len(p) && p[n]&0xe0 == 0x20 {
		n++
	}
	if n == len(p) || n > maxCSI || p[n] < 0x40 || p[n] > 0x7e {
		return 0
	}
	return n + 1
}

// wholeSGR returns the length of the sequence that sets attributes at the start of p, which begins with an escape, or 0.
func wholeSGR(p []byte) int {
	if len(p) < 2 || p[1] != '[' {
		return 0
	}
	n := wholeCSI(p[2:])
	if n == 0 || !isSGR(p[2:1+n], p[1+n]) {
		return 0
	}
	return 2 + n
}

// parameters returns how many of the eight bytes at the start of p are of 0x20 to 0x3f before one that is not.
func parameters(p []byte) int {
	const kind, here = 0xe0e0e0e0e0e0e0e0, 0x2020202020202020
	return bits.TrailingZeros64(binary.LittleEndian.Uint64(p)&kind^here) / 8
}
