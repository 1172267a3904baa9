// Package sshuttletest is a client of sshuttle's protocol for tests and benchmarks: many connections over one stream to
// any server that speaks it, as fast as that server goes. It is for servers one trusts.
package sshuttletest

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// Commands of the protocol (ssnet.py).
const (
	Ping        = 0x4201
	Pong        = 0x4202
	Connect     = 0x4203
	StopSending = 0x4204
	EOF         = 0x4205
	Data        = 0x4206
	Routes      = 0x4207
	HostReq     = 0x4208
	DNSReq      = 0x420a
	DNSResponse = 0x420b
	UDPOpen     = 0x420c
	UDPData     = 0x420d
	UDPClose    = 0x420e
)

// Upload is what a client sends first, cut down: an assembler and two modules. sshuttle's own server, started directly,
// wants none of it.
const Upload = "import sys\nwhile 1:\n    name = sys.stdin.readline()\nsshuttle\n5\nabcde" +
	"sshuttle.server\n3\nxyz\n"

// Client is one client.
type Client struct {
	// Window is how many bytes are sent before it waits for the server to have read them; 0 is StockWindow.
	Window int

	conn io.ReadWriteCloser
	in   *bufio.Reader

	writing sync.Mutex // held while writing a frame; guards out
	out     []byte

	mu       sync.Mutex // guards all below
	channels map[uint16]*Conn
	answers  map[uint16]chan []byte
	next     uint16
	unasked  int // bytes sent since the last ping
	full     bool
	more     sync.Cond // full is over, or the end
	err      error
}

// New begins a conversation: it reads the server's header and takes its frames until the stream ends.
func New(conn io.ReadWriteCloser, upload string) (*Client, error) {
	c := &Client{
		conn: conn, in: bufio.NewReaderSize(conn, 256<<10), channels: map[uint16]*Conn{}, answers: map[uint16]chan []byte{},
	}
	c.more.L = &c.mu
	if _, err := io.WriteString(conn, upload); err != nil {
		return nil, err
	}
	const header = "\x00\x00SSHUTTLE0001"
	b := make([]byte, len(header))
	if _, err := io.ReadFull(c.in, b); err != nil || string(b) != header {
		return nil, fmt.Errorf("read sshuttle's header: %q, %w", b, err)
	}
	go c.read()
	return c, nil
}

// Close ends all connections.
func (c *Client) Close() error { return c.conn.Close() }

// Frame sends a frame as it is.
func (c *Client) Frame(channel uint16, command int, data []byte) error {
	b := appendHeader(make([]byte, 0, 8+len(data)), channel, command, len(data))
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.conn.Write(append(b, data...))
	return err
}

func (c *Client) read() {
	err := c.take()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.more.Broadcast()
	for _, ch := range c.channels {
		_ = ch.in.CloseWithError(err)
	}
	for _, a := range c.answers {
		close(a)
	}
	c.answers = map[uint16]chan []byte{}
}

func (c *Client) take() error {
	for {
		head, err := c.in.Peek(8)
		if err != nil {
			return err
		}
		if head[0] != 'S' || head[1] != 'S' {
			return fmt.Errorf("not a frame: %x", head)
		}
		id, command := binary.BigEndian.Uint16(head[2:]), int(binary.BigEndian.Uint16(head[4:]))
		length := int(binary.BigEndian.Uint16(head[6:]))
		_, _ = c.in.Discard(8)
		data, err := c.in.Peek(length)
		if err != nil {
			return err
		}
		c.obey(id, command, data)
		_, _ = c.in.Discard(length)
	}
}

func (c *Client) obey(id uint16, command int, data []byte) {
	switch command {
	case Ping:
		answer := append([]byte(nil), data...)
		go func() { _ = c.Frame(0, Pong, answer) }()
	case Pong:
		c.mu.Lock()
		c.full, c.unasked = false, 0
		c.more.Broadcast()
		c.mu.Unlock()
	case DNSResponse, UDPData:
		c.mu.Lock()
		if a := c.answers[id]; a != nil {
			select {
			case a <- append([]byte(nil), data...):
			default:
			}
		}
		c.mu.Unlock()
	case Data, EOF, StopSending:
		c.mu.Lock()
		ch := c.channels[id]
		c.mu.Unlock()
		if ch == nil {
			return
		}
		switch command {
		case Data:
			_, _ = ch.in.Write(data)
		case EOF:
			_ = ch.in.Close()
			ch.half(true)
		default:
			ch.stopped()
		}
	}
}

// Conn is one connection through the server. Its reader must read: what waits for it holds up the others.
type Conn struct {
	c  *Client
	id uint16
	*io.PipeReader
	in *io.PipeWriter

	mu              sync.Mutex // guards both
	inOver, outOver bool
}

// Dial opens a connection to an IPv4 address and port. It does not wait for the server to connect.
func (c *Client) Dial(address string) (*Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ch := &Conn{c: c}
	ch.PipeReader, ch.in = io.Pipe()
	c.mu.Lock()
	if ch.id, err = c.number(); err == nil {
		c.channels[ch.id] = ch
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return ch, c.Frame(ch.id, Connect, []byte("2,"+host+","+port))
}

// number is that of a new channel. c.mu is held.
func (c *Client) number() (uint16, error) {
	if c.err != nil {
		return 0, c.err
	}
	for range 1 << 16 {
		c.next++
		if c.next != 0 && c.channels[c.next] == nil && c.answers[c.next] == nil {
			return c.next, nil
		}
	}
	return 0, errors.New("no channel is free")
}

// What stock sshuttle sends at once, and before it waits for the server to have read it unless told otherwise, in bytes
// (ssnet.py).
const (
	frameSize   = 2048
	StockWindow = 32 << 10
)

// Write sends data as stock sshuttle does, in small frames, waiting while the server has not read what came before.
func (ch *Conn) Write(p []byte) (n int, err error) {
	c := ch.c
	window := cmp.Or(c.Window, StockWindow)
	for n < len(p) {
		part := p[n:min(len(p), n+window)]
		c.mu.Lock()
		for c.full && c.err == nil {
			c.more.Wait()
		}
		err := c.err
		c.unasked += len(part)
		ask := c.unasked >= window
		if ask {
			c.full = true
		}
		c.mu.Unlock()
		ch.mu.Lock()
		if ch.outOver {
			err = io.ErrClosedPipe
		}
		ch.mu.Unlock()
		if err != nil {
			return n, err
		}
		if err := c.frames(ch.id, part, ask); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// frames sends data in frames, and a ping behind it.
func (c *Client) frames(id uint16, data []byte, ping bool) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	b := c.out[:0]
	for part := range slices.Chunk(data, frameSize) {
		b = append(appendHeader(b, id, Data, len(part)), part...)
	}
	if ping {
		const text = "rttest"
		b = append(appendHeader(b, 0, Ping, len(text)), text...)
	}
	c.out = b
	_, err := c.conn.Write(b)
	return err
}

func appendHeader(b []byte, channel uint16, command, length int) []byte {
	b = binary.BigEndian.AppendUint16(append(b, 'S', 'S'), channel)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, uint16(command)), uint16(length))
}

// CloseWrite says that nothing more comes.
func (ch *Conn) CloseWrite() error {
	ch.half(false)
	return ch.c.Frame(ch.id, EOF, nil)
}

// stopped: the server takes nothing more; sshuttle sends no end of data then.
func (ch *Conn) stopped() { ch.half(false) }

// Close ends the connection.
func (ch *Conn) Close() error {
	ch.mu.Lock()
	stop, eof := !ch.inOver, !ch.outOver
	ch.mu.Unlock()
	_ = ch.PipeReader.Close()
	var err error
	if stop {
		ch.half(true)
		err = ch.c.Frame(ch.id, StopSending, nil)
	}
	if eof {
		err = errors.Join(err, ch.CloseWrite())
	}
	return err
}

func (ch *Conn) half(in bool) {
	ch.mu.Lock()
	if in {
		ch.inOver = true
	} else {
		ch.outOver = true
	}
	over := ch.inOver && ch.outOver
	ch.mu.Unlock()
	if over {
		ch.c.mu.Lock()
		delete(ch.c.channels, ch.id)
		ch.c.mu.Unlock()
	}
}

// Ask sends a question for a name and waits for the answer.
func (c *Client) Ask(question []byte) ([]byte, error) {
	a := make(chan []byte, 1)
	c.mu.Lock()
	id, err := c.number()
	if err == nil {
		c.answers[id] = a
	}
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer func() {
		c.mu.Lock()
		delete(c.answers, id)
		c.mu.Unlock()
	}()
	if err := c.Frame(id, DNSReq, question); err != nil {
		return nil, err
	}
	answer, ok := <-a
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}
	return answer, nil
}

// Packet sends one UDP packet to an address over a socket of its own and waits for one answer, with who sent it.
func (c *Client) Packet(address, data string) (string, error) {
	a := make(chan []byte, 1)
	c.mu.Lock()
	id, err := c.number()
	if err == nil {
		c.answers[id] = a
	}
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	defer func() {
		c.mu.Lock()
		delete(c.answers, id)
		c.mu.Unlock()
		_ = c.Frame(id, UDPClose, nil)
	}()
	if err := c.Frame(id, UDPOpen, []byte("2")); err != nil {
		return "", err
	}
	if err := c.Frame(id, UDPData, []byte(strings.Replace(address, ":", ",", 1)+","+data)); err != nil {
		return "", err
	}
	answer, ok := <-a
	if !ok {
		return "", io.ErrUnexpectedEOF
	}
	return string(answer), nil
}
