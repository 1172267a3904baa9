// Package standby is how a program that was started before anybody needed it is told what to become: the host writes the words
// to its standard input, and the program in the guest (cmd/calhelper) goes on as if it had been started with them.
//
// What must hold: no byte behind the words is read, as those are for what the program becomes.
package standby

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Verb is what the helper program is started with to wait for its words.
const Verb = "standby"

const (
	// maxWords bounds the words, in bytes: those of a command line are no longer.
	maxWords = 128 << 10
	// digits is how the words' length is told before them.
	digits = 6
)

// Words is what to write to a program that waits, for it to become argv. No word may hold a NUL byte.
func Words(argv []string) string {
	words := strings.Join(argv, "\x00")
	return fmt.Sprintf("%0*d%s", digits, len(words), words)
}

// Read waits for the words. io.EOF if none came: nobody needed the program.
func Read(r io.Reader) ([]string, error) {
	var head [digits]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(string(head[:]), 10, 32)
	if err != nil || n == 0 || n > maxWords {
		return nil, errors.New("what it is to become cannot be read")
	}
	words := make([]byte, n)
	if _, err := io.ReadFull(r, words); err != nil {
		return nil, fmt.Errorf("reading what it is to become: %w", err)
	}
	return strings.Split(string(words), "\x00"), nil
}
