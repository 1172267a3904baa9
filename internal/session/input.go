package session

import (
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// maxInput is how much text the person may type into a dialog, in characters.
const maxInput = 2000

// editor is a line of text being typed.
type editor struct {
	text []rune
	at   int // the cursor, before text[at]
}

// take does what a key means, and tells whether the text is finished.
func (e *editor) take(k key) (finished bool) {
	switch k.kind {
	case keyEnter:
		return true
	case keyRune:
		e.insert(string(k.r))
	case keyPaste:
		e.insert(strings.Join(strings.Fields(k.text), " "))
	case keyBackspace:
		if e.at > 0 {
			e.remove(e.at - 1)
		}
	case keyDelete:
		if e.at < len(e.text) {
			e.remove(e.at)
		}
	case keyLeft:
		e.at = max(e.at-1, 0)
	case keyRight:
		e.at = min(e.at+1, len(e.text))
	case keyHome:
		e.at = 0
	case keyEnd:
		e.at = len(e.text)
	case keyCtrl:
		e.control(k.r)
	}
	return false
}

func (e *editor) control(r rune) {
	switch r {
	case 'a':
		e.at = 0
	case 'e':
		e.at = len(e.text)
	case 'u':
		e.text, e.at = e.text[e.at:], 0
	case 'k':
		e.text = e.text[:e.at]
	case 'w':
		from := e.at
		for from > 0 && unicode.IsSpace(e.text[from-1]) {
			from--
		}
		for from > 0 && !unicode.IsSpace(e.text[from-1]) {
			from--
		}
		e.text = append(e.text[:from:from], e.text[e.at:]...)
		e.at = from
	}
}

func (e *editor) insert(s string) {
	for _, r := range Printable(s) {
		if r == '\t' {
			r = ' '
		}
		if len(e.text) >= maxInput {
			return
		}
		e.text = append(e.text[:e.at:e.at], append([]rune{r}, e.text[e.at:]...)...)
		e.at++
	}
}

func (e *editor) remove(i int) {
	e.text = append(e.text[:i:i], e.text[i+1:]...)
	e.at = i
}

// view returns the part around the cursor that fits in width columns, with the cursor in reverse video.
func (e *editor) view(width int) string {
	from := e.at
	room := max(width, 4) - 2 // for the cursor, which may be two columns wide
	for from > 0 && room >= runewidth.RuneWidth(e.text[from-1]) {
		from--
		room -= runewidth.RuneWidth(e.text[from])
	}
	under, rest := " ", ""
	if e.at < len(e.text) {
		under = string(e.text[e.at])
		to := e.at + 1
		for to < len(e.text) && room >= runewidth.RuneWidth(e.text[to]) {
			room -= runewidth.RuneWidth(e.text[to])
			to++
		}
		rest = string(e.text[e.at+1 : to])
	}
	return string(e.text[from:e.at]) + paint(under, "7", true) + rest
}

// input asks for a line of text. Empty text is an answer only if optional.
func (d *dialog) input(title string, lines []string, optional bool) (string, error) {
	var e editor
	const keys = "Enter:Go on  Esc:Back  Ctrl-U:Clear"
	foot := keys
	for {
		_, cols := d.size()
		var body []string
		for _, s := range lines {
			body = append(body, wrap(s, max(cols-2, 10))...)
		}
		body = append(body, "", "> "+e.view(cols-4))
		d.show(frame{title: title, body: body, foot: foot})
		k, err := d.key()
		if err != nil {
			return "", err
		}
		if k.isBack() {
			return "", errBack
		}
		if e.take(k) {
			text := strings.TrimSpace(string(e.text))
			if text != "" || optional {
				return text, nil
			}
			foot = "It cannot be empty.  Esc:Back"
			continue
		}
		foot = keys
	}
}
