package tunnel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
)

// maxInspected bounds what is kept of a guest's bytes to look at them.
const maxInspected = 16 << 10

// errHidden says that a guest does not show which name a connection is for.
var errHidden = errors.New("is refused: it does not show which name it is for")

// inspection reads along with what a guest sends over a connection that was allowed for a name, and refuses what is for
// another: the server name of a TLS hello, the host of every plain HTTP request. A server that has many names (any CDN)
// would serve the other one. It holds nothing up: bytes pass as they come, and only those that would complete a hello or
// a request that is refused do not. What is neither passes unseen.
type inspection struct {
	judge judgeInner
	begun bool
	chunk []byte // handed to the reader, which takes all of it before check returns
	next  func() (error, bool)
	stop  func()
}

// judgeInner judges the name found inside a connection; hidden tells whether there may be none.
type judgeInner struct {
	name   func(string) error
	hidden bool
}

func newInspection(j judgeInner) *inspection { return &inspection{judge: j} }

// begin has the reader wait for the first bytes.
func (i *inspection) begin() {
	i.begun = true
	i.next, i.stop = iter.Pull(func(yield func(error) bool) {
		more := readerFunc(func(p []byte) (int, error) {
			for len(i.chunk) == 0 {
				if !yield(nil) {
					return 0, io.EOF
				}
			}
			n := copy(p, i.chunk)
			i.chunk = i.chunk[n:]
			return n, nil
		})
		if err := i.judge.inspect(more); err != nil {
			yield(err)
		}
	})
}

// check looks at what is about to be passed on. An error says why it must not be.
func (i *inspection) check(p []byte) error {
	if !i.begun {
		i.begin()
	}
	if i.next == nil {
		return nil
	}
	i.chunk = p
	err, more := i.next()
	if more && err == nil {
		return nil
	}
	i.end() // nothing more to see
	return err
}

// over tells whether there is nothing more to see.
func (i *inspection) over() bool { return i.begun && i.next == nil }

// end lets go of what the inspection holds.
func (i *inspection) end() {
	i.begun = true
	if i.next != nil {
		i.stop()
		i.next, i.stop, i.chunk = nil, nil, nil
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// inspect reads what a guest sends until there is nothing more to see (nil) or something that is refused.
func (j judgeInner) inspect(from io.Reader) error {
	limit := &headerLimit{r: from}
	in := bufio.NewReaderSize(limit, maxInspected)
	first, err := in.Peek(2)
	if err != nil {
		return nil //nolint:nilerr // it ended before it said anything
	}
	if first[0] == recordHandshake && first[1] == 3 {
		return j.inspectTLS(in)
	}
	for {
		switch speaks(in) {
		case speaksHTTP:
		case speaksTooLong:
			return errors.New("is refused: its HTTP request line is too long to be looked at")
		case speaksHTTP2:
			if !j.hidden {
				return errHidden
			}
			return nil
		case speaksOther:
			return nil
		}
		limit.armed, limit.left = true, maxHeader
		req, err := http.ReadRequest(in)
		limit.armed = false
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return errors.New("is refused: it sends an HTTP request that cannot be read")
		}
		if err := j.judgeHTTP(req.Host); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("is refused: it sends an HTTP request that cannot be read")
		}
	}
}

func (j judgeInner) judgeHTTP(host string) error {
	if host == "" {
		if j.hidden {
			return nil
		}
		return errHidden
	}
	name := hostOf(host)
	if err := j.name(name); err != nil {
		return fmt.Errorf("is refused: an HTTP request in it is for %s, which %w", oneLine(name), err)
	}
	return nil
}

// hostOf is what a Host header names, without a port and brackets.
func hostOf(header string) string {
	name, _, err := net.SplitHostPort(header)
	if err != nil {
		name = strings.Trim(header, "[]")
	}
	return name
}

// speech is what the beginning of a stream may be.
type speech int

const (
	speaksOther speech = iota
	speaksHTTP
	speaksHTTP2   // without TLS and without asking first
	speaksTooLong // like HTTP, with a line longer than one is
	speaksUnknown // more is needed to tell
)

// speaks waits until what comes next is known to be an HTTP request or not.
func speaks(in *bufio.Reader) speech {
	for n := 1; ; {
		if _, err := in.Peek(n); err != nil {
			return speaksOther
		}
		seen, _ := in.Peek(in.Buffered())
		for len(seen) > 0 && (seen[0] == '\r' || seen[0] == '\n') {
			_, _ = in.Discard(1) // servers skip empty lines before a request
			seen = seen[1:]
		}
		if s := speechOf(seen, maxInspected); s != speaksUnknown {
			return s
		}
		n = len(seen) + 1
	}
}

// tokenBytes are those of an HTTP method (RFC 9110, 5.6.2).
const tokenBytes = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// maxMethod bounds an HTTP method's length; the longest registered one has 17 bytes.
const maxMethod = 64

// speechOf tells what the bytes seen so far are the beginning of; most is how many may be seen.
func speechOf(seen []byte, most int) speech {
	method := len(seen) - len(bytes.TrimLeft(seen, tokenBytes))
	switch {
	case method == len(seen) && method <= maxMethod:
		return speaksUnknown
	case method == 0 || method > maxMethod || seen[method] != ' ':
		return speaksOther
	}
	line, _, whole := bytes.Cut(seen, []byte("\n"))
	if !whole {
		if len(seen) >= most {
			return speaksTooLong
		}
		return speaksUnknown
	}
	line = bytes.TrimRight(line, "\r \t")
	version := line[bytes.LastIndexByte(line, ' ')+1:]
	switch {
	case bytes.Equal(line, []byte("PRI * HTTP/2.0")):
		return speaksHTTP2
	case bytes.HasPrefix(bytes.ToUpper(version), []byte("HTTP/")):
		return speaksHTTP
	}
	return speaksOther
}
