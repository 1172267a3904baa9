package agent

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// Limits of what a Links takes from a guest.
const (
	maxLink  = 4096 // bytes of one link; a longer one is none
	maxLinks = 16   // links found in one sign-in
)

// Links finds the links in what a program writes to a terminal: in its text, also where it was broken at the right
// margin, and in its hyperlinks (OSC 8). It is an io.Writer, is told each link once, and never fails.
type Links struct {
	// Found is called with each https link that names a host and holds no user or password.
	Found func(link string)
	// Width is the terminal's width in columns now; nil, or 0: links are not broken.
	Width func() int

	state  linkState
	word   []byte
	over   bool // the word is too long to be a link
	column int
	broken bool // the word reached the margin, and a new line has begun since
	osc    []byte
	seen   []string
}

type linkState int

const (
	text linkState = iota
	escape
	control // a CSI sequence
	osc
	oscEscape // in an OSC or another string, after ESC
	other     // another string: DCS, APC, PM, SOS
)

// Write takes what a program wrote, in pieces of any size.
func (l *Links) Write(b []byte) (int, error) {
	for _, c := range b {
		l.take(c)
	}
	return len(b), nil
}

// Idle tells whether the output so far ends between control sequences, so that a line of one's own may follow.
func (l *Links) Idle() bool { return l.state == text }

// Flush tells of a link that the output ends with.
func (l *Links) Flush() { l.end() }

func (l *Links) take(c byte) {
	switch l.state {
	case text:
		l.char(c)
	case escape:
		l.state = text
		switch c {
		case '[':
			l.state = control
		case ']':
			l.state, l.osc = osc, l.osc[:0]
		case 'P', 'X', '^', '_':
			l.state = other
		}
	case control:
		if c >= 0x40 && c <= 0x7e {
			l.state = text
			if c != 'm' && c != 'K' && c != 'h' && c != 'l' { // the cursor goes elsewhere
				l.end()
				l.column = 0
			}
		}
	case osc:
		switch {
		case c == 0x07:
			l.hyperlink()
		case c == 0x1b:
			l.state = oscEscape
		case len(l.osc) <= maxLink+64:
			l.osc = append(l.osc, c)
		}
	case oscEscape:
		if c == '\\' {
			l.hyperlink()
		} else {
			l.osc, l.state = l.osc[:0], text
		}
	case other:
		if c == 0x1b {
			l.state, l.osc = oscEscape, l.osc[:0]
		}
	}
}

// char takes a byte of the text.
func (l *Links) char(c byte) {
	switch {
	case c == 0x1b:
		l.state = escape
	case c == '\r' || c == '\n':
		if len(l.word) > 0 && !l.broken && l.Width != nil && l.Width() > 0 && l.column >= l.Width() {
			l.broken = true
		} else if !l.broken || c == '\n' && l.column > 0 {
			l.end()
		}
		l.column = 0
	case c < 0x20, c == 0x7f:
		l.end()
	default:
		l.broken = false
		if utf8.RuneStart(c) {
			l.column++
		}
		if c == ' ' || c >= 0x80 || strings.IndexByte("\"'<>`\\^{|}", c) >= 0 {
			l.end()
			return
		}
		if len(l.word) > maxLink {
			l.over = true
			return
		}
		l.word = append(l.word, c)
	}
}

// end ends a word.
func (l *Links) end() {
	word, over := string(l.word), l.over
	l.word, l.over, l.broken = l.word[:0], false, false
	if i := strings.Index(word, "https://"); i >= 0 && !over {
		l.tell(strings.TrimRight(word[i:], ".,;:!?)]*"))
	}
}

// hyperlink ends an OSC sequence, which may be "8;parameters;link".
func (l *Links) hyperlink() {
	l.state = text
	parts := strings.SplitN(string(l.osc), ";", 3)
	l.osc = l.osc[:0]
	if len(parts) == 3 && parts[0] == "8" && strings.HasPrefix(parts[2], "https://") {
		l.tell(parts[2])
	}
}

func (l *Links) tell(link string) {
	if len(l.seen) >= maxLinks || !plainLink(link) {
		return
	}
	for _, s := range l.seen {
		if s == link {
			return
		}
	}
	l.seen = append(l.seen, link)
	l.Found(link)
}

// plainLink tells whether a link from a guest is one to hand on: https, a host, no credentials, no odd character.
func plainLink(link string) bool {
	if len(link) > maxLink {
		return false
	}
	for _, c := range []byte(link) {
		if c <= 0x20 || c >= 0x7f {
			return false
		}
	}
	u, err := url.Parse(link)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.Opaque == ""
}

// Opens tells whether a link is to a site of the agent's sign-in pages, and so may be opened without asking: the guest
// chooses the link, but not where it leads.
func (a Auth) Opens(link string) bool {
	u, err := url.Parse(link)
	if err != nil || !plainLink(link) || u.Port() != "" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, h := range a.Hosts {
		if below, ok := strings.CutPrefix(h, "*"); ok && strings.HasSuffix(host, below) || host == h {
			return true
		}
	}
	return false
}

// ReturnsToLoopback tells whether a sign-in page sends the browser back to the machine the agent runs on: on the host
// nobody listens there.
func ReturnsToLoopback(link string) bool {
	u, err := url.Parse(link)
	if err != nil {
		return false
	}
	back, err := url.Parse(u.Query().Get("redirect_uri"))
	if err != nil {
		return false
	}
	switch back.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}
