package guest

import (
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

// wholePackets is a connection to which packets are written whole. x/crypto/ssh writes those of AES-GCM through four
// kibibytes: a large one takes two system calls, the first of which wakes the other end for an eighth of a packet.
type wholePackets struct {
	net.Conn
	plain net.Conn // what is written to in the end

	mu    sync.Mutex // guards what follows, and is held while writing
	on    bool
	begun bool
	part  [packetPart]byte // of a packet, if begun
}

// packetPart is the size of x/crypto/ssh's buffer (bufio's usual one). It is how the first part of a packet is known: none of
// AES-GCM's ends there, since they have a length of 4 bytes, a multiple of 16, and a tag of 16 (RFC 5647).
const packetPart = 4096

func newWholePackets(conn net.Conn) *wholePackets {
	c := &wholePackets{Conn: conn, plain: conn}
	// One that differs only in what it reads names the one below, which can write from two places at once.
	if below, ok := conn.(interface{ NetConn() net.Conn }); ok {
		c.plain = below.NetConn()
	}
	return c
}

// begin has packets written whole from now on, if they are of AES-GCM. The handshake's have other lengths.
func (c *wholePackets) begin(conn ssh.ConnMetadata) {
	agreed, ok := conn.(ssh.AlgorithmsConnMetadata)
	if !ok {
		return
	}
	switch agreed.Algorithms().Write.Cipher {
	case ssh.CipherAES128GCM, ssh.CipherAES256GCM:
		c.mu.Lock()
		c.on = true
		c.mu.Unlock()
	}
}

func (c *wholePackets) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.begun:
		c.begun = false
		both := net.Buffers{c.part[:], p}
		if _, err := both.WriteTo(c.plain); err != nil {
			return 0, err
		}
		return len(p), nil
	case c.on && len(p) == packetPart:
		c.begun = true
		return copy(c.part[:], p), nil
	}
	return c.plain.Write(p)
}
