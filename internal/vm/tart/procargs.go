package tart

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// parseProcArgs reads what macOS says of a process (sysctl kern.procargs2): the number of arguments in the host's byte
// order, the program's path, NUL bytes, and the arguments with a NUL byte after each.
func parseProcArgs(data []byte) ([]string, error) {
	if len(data) < 4 {
		return nil, errors.New("reading process arguments: too short")
	}
	count := binary.LittleEndian.Uint32(data)
	_, rest, ok := bytes.Cut(data[4:], []byte{0})
	if !ok || count > 4096 {
		return nil, errors.New("reading process arguments: malformed")
	}
	rest = bytes.TrimLeft(rest, "\x00")
	argv := make([]string, 0, count)
	for range count {
		arg, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return nil, errors.New("reading process arguments: cut short")
		}
		argv, rest = append(argv, string(arg)), after
	}
	return argv, nil
}
