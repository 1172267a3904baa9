package topline

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// oscLimit says how long the OSC being read may get. next is what comes, so that the decision is the same however the
// stream is split: it needs the first three bytes.
func (f *Filter) oscLimit(next []byte) int {
	var head [3]byte
	n := copy(head[:], f.scan.buf)
	copy(head[n:], next)
	if string(head[:]) == "52;" && f.o.ClipboardWrite {
		return max(maxOSC, f.o.ClipboardMax/3*4+64)
	}
	return maxOSC
}

// allowedOSC are the commands passed as they are: colours and their queries (the answers are hexadecimal), links,
// pointer shapes, text sizes, prompts' marks.
func allowedOSC(n int) bool {
	switch {
	case n == 4 || n == 5 || n == 8 || n >= 10 && n <= 19 || n == 21 || n == 22 || n == 66,
		n == 104 || n == 105 || n >= 110 && n <= 119, n == 133:
		return true
	}
	return false
}

// osc handles a whole OSC. end is the terminator it came with.
func (f *Filter) osc(dst []byte, end string) []byte {
	s := &f.scan
	data, over := s.buf, s.over
	defer f.end()
	num, rest, _ := bytes.Cut(data, []byte(";"))
	n, err := strconv.Atoi(string(num))
	if err != nil || len(num) > 5 {
		f.refuse(ruleOSC) // Sun's OSC l and L among them, which set titles
		return dst
	}
	if n == 52 {
		return f.clipboard(dst, rest, over, end)
	}
	if over {
		f.refuse(ruleTooLong)
		return dst
	}
	switch n {
	case 0, 2:
		f.reportTitle(rest)
		return dst
	case 1: // the icon's name
		return dst
	case 7:
		f.refuse(ruleDirectory)
		return dst
	case 9:
		return f.osc9(dst, rest, end)
	case 99:
		f.notifyKitty(string(rest))
		return dst
	case 777:
		if body, ok := bytes.CutPrefix(rest, []byte("notify;")); ok {
			title, text, _ := strings.Cut(string(body), ";")
			f.tell(Event{Kind: Notify, Title: title, Text: text})
			return dst
		}
		f.refuse(ruleOSC)
		return dst
	case 50:
		f.refuse(ruleFont)
		return dst
	case 1337:
		if string(rest) == "ReportCellSize" {
			return f.passOSC(dst, data, end)
		}
		if string(rest) == "FileEnd" && s.parts {
			s.parts = false
			return f.passOSC(dst, data, end)
		}
		if args, ok := bytes.CutPrefix(rest, []byte("MultipartFile=")); ok && isInline(args) {
			s.parts = true
			return f.passOSC(dst, data, end)
		}
		f.refuse(ruleDownload)
		return dst
	case 5522:
		f.tell(Event{Kind: ClipboardDenied, Text: "access by a protocol that can also read"})
		return dst
	}
	if !allowedOSC(n) {
		f.refuse(ruleOSC)
		return dst
	}
	switch n {
	case 8:
		if _, uri, _ := bytes.Cut(rest, []byte(";")); len(uri) == 0 {
			f.modes.link = ""
		} else if !hidesControls(rest) {
			f.modes.link = string(rest)
		}
	case 4, 10, 11, 12:
		if !bytes.HasSuffix(rest, []byte("?")) {
			f.modes.colours = true
		}
	case 66:
		f.cur.lost()
	}
	return f.passOSC(dst, data, end)
}

// passOSC passes an OSC unless it hides controls: bytes that are not text may end it in some terminals, and what
// follows would then be read without these rules.
func (f *Filter) passOSC(dst, data []byte, end string) []byte {
	if hidesControls(data) {
		f.refuse(ruleControlOSC)
		return dst
	}
	dst = append(dst, "\x1b]"...)
	dst = append(dst, data...)
	return append(dst, end...)
}

func hidesControls(p []byte) bool {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 || r < 0x20 || r >= 0x7f && r < 0xa0 {
			return true
		}
		p = p[n:]
	}
	return false
}

// reportTitle tells the title the program wants; it never reaches the terminal.
func (f *Filter) reportTitle(title []byte) {
	f.tell(Event{Kind: Title, Text: string(title)})
}

// osc9 tells iTerm2's notification from ConEmu's commands, of which progress (9;4) alone is passed.
func (f *Filter) osc9(dst, rest []byte, end string) []byte {
	head, _, more := bytes.Cut(rest, []byte(";"))
	if n, err := strconv.Atoi(string(head)); err == nil && n >= 1 && n <= 12 && (more || n != 4) {
		if n == 4 && strings.Trim(string(rest), "0123456789;") == "" {
			return f.passOSC(dst, append([]byte("9;"), rest...), end)
		}
		f.refuse(ruleOSC)
		return dst
	}
	f.tell(Event{Kind: Notify, Text: string(rest)})
	return dst
}

// notifyKitty reports a notification of kitty's protocol, as far as it fits in one sequence.
func (f *Filter) notifyKitty(rest string) {
	meta, payload, _ := strings.Cut(rest, ";")
	e := Event{Kind: Notify}
	kind := "title"
	for kv := range strings.SplitSeq(meta, ":") {
		switch k, v, _ := strings.Cut(kv, "="); k {
		case "p":
			kind = v
		case "e":
			if v == "1" {
				b, err := base64.StdEncoding.DecodeString(payload)
				if err != nil {
					return
				}
				payload = string(b)
			}
		}
	}
	switch kind {
	case "title":
		e.Title = payload
	case "body":
		e.Text = payload
	default:
		return // icons, buttons, queries
	}
	if payload != "" {
		f.tell(e)
	}
}

// clipboard handles OSC 52: never a read, a write only if allowed, whole, and within the cap.
func (f *Filter) clipboard(dst, rest []byte, over bool, end string) []byte {
	which, data, ok := bytes.Cut(rest, []byte(";"))
	deny := func(why string) []byte {
		f.tell(Event{Kind: ClipboardDenied, Text: why})
		return dst
	}
	switch {
	case !ok || strings.Trim(string(which), "cpqs01234567") != "":
		f.refuse(ruleOSC)
		return dst
	case bytes.HasPrefix(data, []byte("?")):
		return deny("read")
	case !f.o.ClipboardWrite:
		return deny("write: switched off")
	case over:
		return deny("write: too large")
	}
	text, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		if text, err = base64.RawStdEncoding.DecodeString(string(data)); err != nil {
			return deny("write: not base64")
		}
	}
	if len(text) > f.o.ClipboardMax {
		return deny("write: too large")
	}
	return f.passOSC(dst, append([]byte("52;"), rest...), end)
}

// maybeImage decides about an OSC 1337 that holds an image as soon as its header is there, and lets it stream.
func (f *Filter) maybeImage(dst []byte) []byte {
	s := &f.scan
	const lead = "1337;"
	if !bytes.HasPrefix(s.buf, []byte(lead)) {
		return dst
	}
	body := s.buf[len(lead):]
	colon := bytes.IndexByte(body, ':')
	if colon > maxHeader || colon < 0 {
		return dst // decided at its end, where it is refused
	}
	args, isFile := bytes.CutPrefix(body[:colon], []byte("File="))
	isPart := bytes.HasPrefix(body, []byte("FilePart="))
	s.bel = true
	if hidesControls(args) || !(isFile && isInline(args) || isPart && s.parts) {
		f.refuse(ruleDownload)
		s.state = stDrop
		return dst
	}
	s.state, s.draws = stStream, true
	dst = append(dst, "\x1b]"...)
	return appendASCII(dst, s.buf)
}

// isInline reports whether the arguments of iTerm2's File say that it is shown and not saved. The last word counts.
func isInline(args []byte) bool {
	inline := false
	for kv := range bytes.SplitSeq(args, []byte(";")) {
		if v, ok := bytes.CutPrefix(kv, []byte("inline=")); ok {
			inline = string(v) == "1"
		}
	}
	return inline
}

// dcs decides about a device control string by its header.
func (f *Filter) dcs(dst []byte) []byte {
	s := &f.scan
	header := s.buf
	final := header[len(header)-1]
	args := bytes.TrimLeft(header[:len(header)-1], "0123456789;:<=>?")
	private := len(header) > 1 && header[0] >= '<' && header[0] <= '?'
	kind := string(args) + string(final)
	var r *rule
	switch {
	case s.over:
		r = ruleTooLong
	case kind == "q" && !private, kind == "+q" && !private, kind == "s" && header[0] == '=':
	case kind == "$q":
		r = ruleStateQuery
	case kind == "|":
		r = ruleUserKeys
	case kind == "{":
		r = ruleSoftFont
	case kind == "!z":
		r = ruleMacro
	case kind == "t":
		r = rulePassage
	case kind == "@" || kind == "p":
		r = ruleControl
	default:
		r = ruleDCS
	}
	s.bel = false
	if r != nil {
		f.refuse(r)
		s.state = stDrop
		return dst
	}
	s.state, s.draws = stStream, kind == "q"
	dst = append(dst, "\x1bP"...)
	return append(dst, header...)
}

// apc decides about an application command by its first bytes: kitty's images, of which the data are in the sequence.
func (f *Filter) apc(dst []byte) []byte {
	s := &f.scan
	s.bel = false
	if len(s.buf) == 0 || s.buf[0] != 'G' || s.over {
		f.refuse(ruleAPC)
		s.state = stDrop
		return dst
	}
	for kv := range bytes.SplitSeq(bytes.TrimSuffix(s.buf[1:], []byte(";")), []byte(",")) {
		if k, v, _ := bytes.Cut(kv, []byte("=")); string(k) == "t" && string(v) != "d" {
			f.refuse(ruleFiles)
			s.state = stDrop
			return dst
		}
	}
	s.state, s.draws = stStream, true
	dst = append(dst, "\x1b_"...)
	return append(dst, s.buf...)
}
