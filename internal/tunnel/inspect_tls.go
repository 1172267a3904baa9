package tunnel

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
)

// Numbers of TLS (RFC 8446, RFC 6066, RFC 9849).
const (
	recordHandshake  = 22
	helloMessage     = 1
	extServerName    = 0
	extEncryptedName = 0xffce // an early form of the next
	extEncrypted     = 0xfe0d
	maxRecord        = 1<<14 + 256
	maxHello         = 64 << 10
)

// hello is what a TLS client shows of itself before anything is encrypted.
type hello struct {
	serverName string
	encrypted  bool // it may hold another hello, which nobody but the server can read
}

var errNoHello = errors.New("no TLS hello")

// inspectTLS judges the name of the hello a stream begins with.
func (j judgeInner) inspectTLS(in *bufio.Reader) error {
	h, err := readHello(in)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	case err != nil && j.hidden:
		return nil
	case err != nil:
		return errHidden
	}
	if h.serverName != "" {
		if err := j.name(h.serverName); err != nil {
			return fmt.Errorf("is refused: the TLS connection in it is for %s, which %w", oneLine(h.serverName), err)
		}
	}
	switch {
	case j.hidden:
		return nil
	case h.encrypted:
		return errors.New("is refused: its TLS hello has an encrypted part (ECH), which may be for another name")
	case h.serverName == "":
		return errHidden
	}
	return nil
}

// readHello reads the records (RFC 8446, 5.1) that hold a ClientHello.
func readHello(in io.Reader) (hello, error) {
	var message []byte
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return hello{}, err
		}
		n := int(head[3])<<8 | int(head[4])
		if head[0] != recordHandshake || head[1] != 3 || n == 0 || n > maxRecord {
			return hello{}, errNoHello
		}
		before := len(message)
		message = append(message, make([]byte, n)...)
		if _, err := io.ReadFull(in, message[before:]); err != nil {
			return hello{}, err
		}
		if message[0] != helloMessage || len(message) > maxHello {
			return hello{}, errNoHello
		}
		if len(message) < 4 {
			continue
		}
		if length := int(message[1])<<16 | int(message[2])<<8 | int(message[3]); len(message) >= 4+length {
			return parseHello(message[4 : 4+length])
		}
	}
}

// parseHello reads a ClientHello (RFC 8446, 4.1.2).
func parseHello(message []byte) (hello, error) {
	var h hello
	s := cryptobyte.String(message)
	var session, suites, compressions, extensions cryptobyte.String
	if !s.Skip(2+32) || !s.ReadUint8LengthPrefixed(&session) || !s.ReadUint16LengthPrefixed(&suites) ||
		!s.ReadUint8LengthPrefixed(&compressions) {
		return h, errNoHello
	}
	if s.Empty() {
		return h, nil // without extensions, as TLS 1.0 was
	}
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return h, errNoHello
	}
	seen := false
	for !extensions.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return h, errNoHello
		}
		switch kind {
		case extEncrypted, extEncryptedName:
			h.encrypted = true
		case extServerName:
			var names, name cryptobyte.String
			var form uint8
			// One name, and no other form than a host's: nobody sends more, and servers differ in what they make of it.
			if seen || !data.ReadUint16LengthPrefixed(&names) || !data.Empty() || !names.ReadUint8(&form) || form != 0 ||
				!names.ReadUint16LengthPrefixed(&name) || !names.Empty() || name.Empty() {
				return h, errNoHello
			}
			seen, h.serverName = true, string(name)
		}
	}
	return h, nil
}
