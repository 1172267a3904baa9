package sshuttle

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// command is what a frame is about (ssnet.py).
type command uint16

const (
	cmdExit           command = 0x4200
	cmdPing           command = 0x4201
	cmdPong           command = 0x4202
	cmdTCPConnect     command = 0x4203
	cmdTCPStopSending command = 0x4204
	cmdTCPEOF         command = 0x4205
	cmdTCPData        command = 0x4206
	cmdRoutes         command = 0x4207
	cmdHostReq        command = 0x4208
	cmdHostList       command = 0x4209
	cmdDNSReq         command = 0x420a
	cmdDNSResponse    command = 0x420b
	cmdUDPOpen        command = 0x420c
	cmdUDPData        command = 0x420d
	cmdUDPClose       command = 0x420e
)

// headerLength is that of a frame: "SS", channel, command, length of what follows.
const headerLength = 8

var errFrame = errors.New("not a frame of sshuttle")

func appendHeader(b []byte, channel uint16, c command, length int) []byte {
	b = append(b, 'S', 'S')
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint16(b, uint16(c))
	return binary.BigEndian.AppendUint16(b, uint16(length))
}

// parseHeader reads a frame's header, which has headerLength bytes.
func parseHeader(b []byte) (channel uint16, c command, length int, err error) {
	if b[0] != 'S' || b[1] != 'S' {
		return 0, 0, 0, fmt.Errorf("%w: it begins with %x", errFrame, b[:2])
	}
	return binary.BigEndian.Uint16(b[2:]), command(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:])), nil
}
