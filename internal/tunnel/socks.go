package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"syscall"
	"time"
)

// SOCKS5 (RFC 1928): no authentication, CONNECT alone. Who sends a name has it resolved here ("socks5h").
const (
	socksVersion = 5

	socksNoAuth   = 0x00
	socksNoMethod = 0xff

	socksConnect = 1

	socksIPv4 = 1
	socksName = 3
	socksIPv6 = 4

	socksOK          = 0
	socksFailure     = 1
	socksNotAllowed  = 2
	socksUnreachable = 4
	socksRefused     = 5
	socksBadCommand  = 7
	socksBadAddress  = 8
)

// serveSOCKS serves one connection whose first byte was SOCKS5's. A request that is none, or is not over in time, is
// ended without a word.
func (s *session) serveSOCKS(ctx context.Context) {
	slow := time.AfterFunc(s.slow, func() { _ = s.conn.Close() })
	d, code, err := s.readSOCKS()
	if !slow.Stop() || err != nil {
		return
	}
	if code != socksOK {
		record := newRecord(d)
		record.Reason = "is refused: of SOCKS only CONNECT is served"
		s.gate.finish(record)
		_ = s.answerSOCKS(code)
		return
	}
	s.gate.Carry(ctx, d, s.rest(), func(err error) error { return s.answerSOCKS(socksCode(err)) })
}

// readSOCKS reads a greeting, answers it, and reads the request; code is what is wrong with a well-formed one.
func (s *session) readSOCKS() (d Destination, code byte, err error) {
	d.Way = WaySOCKS
	var b [262]byte
	if _, err := io.ReadFull(s.in, b[:2]); err != nil {
		return d, 0, err
	}
	methods := b[2 : 2+int(b[1])]
	if _, err := io.ReadFull(s.in, methods); err != nil {
		return d, 0, err
	}
	method := byte(socksNoMethod)
	for _, m := range methods {
		if m == socksNoAuth {
			method = socksNoAuth
		}
	}
	if _, err := s.conn.Write([]byte{socksVersion, method}); err != nil || method != socksNoAuth {
		return d, 0, errors.Join(err, errors.New("no method in common"))
	}
	if _, err := io.ReadFull(s.in, b[:4]); err != nil {
		return d, 0, err
	}
	if b[0] != socksVersion {
		return d, 0, errors.New("not a SOCKS request")
	}
	command := b[1]
	length := 4
	switch b[3] {
	case socksIPv4:
	case socksIPv6:
		length = 16
	case socksName:
		if _, err := io.ReadFull(s.in, b[4:5]); err != nil {
			return d, 0, err
		}
		length = int(b[4])
	default:
		return d, socksBadAddress, nil
	}
	kind, rest := b[3], b[:length+2]
	if _, err := io.ReadFull(s.in, rest); err != nil {
		return d, 0, err
	}
	d.Port = int(binary.BigEndian.Uint16(rest[length:]))
	if d.Host = string(rest[:length]); kind != socksName {
		addr, _ := netip.AddrFromSlice(rest[:length])
		d.Host = addr.Unmap().String()
	}
	if command != socksConnect {
		// BIND and UDP ASSOCIATE: whoever wanted UDP falls back to TCP the faster.
		return d, socksBadCommand, nil
	}
	return d, socksOK, nil
}

func (s *session) answerSOCKS(code byte) error {
	// The address the host dialled from is none of the guest's business.
	_, err := s.conn.Write([]byte{socksVersion, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
	return err
}

// socksCode is the reply for why a destination was not reached.
func socksCode(err error) byte {
	var refused *RefusedError
	switch {
	case err == nil:
		return socksOK
	case errors.As(err, &refused):
		return socksNotAllowed
	case errors.Is(err, syscall.ECONNREFUSED):
		return socksRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, context.DeadlineExceeded):
		return socksUnreachable
	}
	return socksFailure
}
