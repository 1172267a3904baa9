package sshuttle

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
)

// header is what a client waits for once it has uploaded its server.
const header = "\x00\x00SSHUTTLE0001"

const (
	maxAssembler = 256 << 10 // 1.3 has 1.5 KiB
	maxModule    = 1 << 20   // 1.3's largest has 5 KiB, compressed
	maxModules   = 64        // 1.3 has 6
)

var errUpload = errors.New("not the beginning of sshuttle's upload")

// skipUpload reads the server that a client uploads, and forgets it: first the source of an assembler, whose length only
// the command line that would start it says, then modules, each a line with its name, a line with its length, and as many
// bytes, up to an empty line. The first module is always called sshuttle, and no line of the assembler is.
func skipUpload(r *bufio.Reader) error {
	for read := 0; ; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("%w: %w", errUpload, err)
		}
		if string(line) == "sshuttle\n" {
			break
		}
		if read += len(line); read > maxAssembler {
			return fmt.Errorf("%w: its assembler is too long", errUpload)
		}
	}
	for range maxModules {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("%w: %w", errUpload, err)
		}
		n, err := strconv.ParseUint(string(line[:len(line)-1]), 10, 32)
		if err != nil || n > maxModule {
			return fmt.Errorf("%w: a module of %.20q bytes", errUpload, line)
		}
		if _, err := r.Discard(int(n)); err != nil {
			return fmt.Errorf("%w: %w", errUpload, err)
		}
		if line, err = r.ReadSlice('\n'); err != nil {
			return fmt.Errorf("%w: %w", errUpload, err)
		}
		if len(line) == 1 {
			return nil
		}
	}
	return fmt.Errorf("%w: too many modules", errUpload)
}
