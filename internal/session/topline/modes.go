package topline

import (
	"maps"
	"slices"
	"strconv"
)

// The private modes (CSI ? n h) that this package knows by name.
const (
	modeVT52        = 2
	modeColumns     = 3
	modeOrigin      = 6
	modeWrap        = 7
	modeMouseX10    = 9
	modeCursor      = 25
	modeAlt         = 47
	modeMargins     = 69
	modeMouse       = 1000
	modeMouseDrag   = 1002
	modeMouseAny    = 1003
	modeFocus       = 1004
	modeMouseUTF8   = 1005
	modeMouseSGR    = 1006
	modeMouseURXVT  = 1015
	modeMousePixels = 1016
	modeAltClear    = 1047
	modeSaveCursor  = 1048
	modeAltSave     = 1049
	modePaste       = 2004
)

// undone are the private modes that a program may leave switched on and that would spoil the shell after it, with the
// value they are given back.
var undone = []struct {
	mode int
	back bool
}{
	{2026, false},
	{modeMouseX10, false},
	{modeMouse, false},
	{modeMouseDrag, false},
	{modeMouseAny, false},
	{modeMouseUTF8, false},
	{modeMouseSGR, false},
	{modeMouseURXVT, false},
	{modeMousePixels, false},
	{1, false},
	{5, false},
	{66, false},
	{1007, false},
	{1035, true},
	{2027, false},
	{2031, false},
	{2048, false},
	{modePaste, false},
	{modeMargins, false},
	{modeOrigin, false},
	{modeWrap, true},
	{modeCursor, true},
}

// cursorModes are the modes that saving and restoring the cursor takes along.
type cursorModes struct {
	origin bool
	gl     byte    // which of G0..G3 is in use
	g      [4]byte // their designations, 0 for ASCII
}

// charsets appends what leads from the character sets of have to those of m.
func (m cursorModes) charsets(dst []byte, have cursorModes) []byte {
	for i := range m.g {
		if m.g[i] != have.g[i] {
			set := m.g[i]
			if set == 0 {
				set = 'B'
			}
			dst = append(dst, 0x1b, "()*+"[i], set)
		}
	}
	if m.gl != have.gl {
		dst = append(dst, [...]string{"\x0f", "\x0e", "\x1bn", "\x1bo"}[m.gl&3]...)
	}
	return dst
}

// modes is what the program has switched on.
type modes struct {
	cursorModes
	private  map[int]bool // what it set or reset by CSI ? n h / l, as far as it is passed on
	stored   map[int]bool // what it stored by XTSAVE
	noWrap   bool         // ?7 is off
	margins  [2]int       // left and right margin in force (columns from 1), zero for none
	insert   bool         // IRM
	newline  bool         // LNM
	alt      int          // the screen shown: 0 main, 1 alternate
	link     string       // the hyperlink left open: "params;uri"
	keypad   bool         // DECKPAM
	style    bool         // DECSCUSR was used
	modify   bool         // modifyOtherKeys was used
	colours  bool         // palette or default colours were set
	protect  bool         // DECSCA was used
	kitty    [2]int       // keyboard flags pushed, by screen
	autowait int          // cell size reports asked for by this package, not yet answered
}

// maxModes bounds the tables of modes: a program has no use for more.
const maxModes = 256

func (m *modes) reset() {
	*m = modes{private: map[int]bool{}, stored: map[int]bool{}, autowait: m.autowait}
}

func (m *modes) on(mode int) bool { return m.private[mode] }

// note records the state of a private mode that was passed on.
func (m *modes) note(mode int, on bool) {
	if mode == modeWrap {
		m.noWrap = !on
	}
	if _, ok := m.private[mode]; ok || len(m.private) < maxModes {
		m.private[mode] = on
	}
}

func (m *modes) mouse() bool {
	return m.on(modeMouseX10) || m.on(modeMouse) || m.on(modeMouseDrag) || m.on(modeMouseAny)
}

// reassert switches on again what the program has switched on, after somebody else used the terminal.
func (m *modes) reassert(dst []byte) []byte {
	for _, mode := range slices.Sorted(maps.Keys(m.private)) {
		switch mode {
		case modeOrigin, modeAlt, modeAltClear, modeAltSave, modeMargins, 2026, modeFocus:
		default:
			dst = appendMode(dst, mode, m.private[mode])
		}
	}
	return append(dst, "\x1b[?1004h"...)
}

// undo switches off what the program left switched on.
func (m *modes) undo(dst []byte) []byte {
	dst = closeLink(dst, m.link)
	dst = popKeyboard(dst, m.kitty[m.alt])
	if m.alt == 1 {
		// The way it came is the way it goes: only 1049 restores the cursor.
		mode := modeAltSave
		switch {
		case m.on(modeAltSave):
		case m.on(modeAltClear):
			mode = modeAltClear
		case m.on(modeAlt):
			mode = modeAlt
		}
		dst = appendMode(dst, mode, false)
		dst = popKeyboard(dst, m.kitty[0])
	}
	for _, u := range undone {
		if v, ok := m.private[u.mode]; ok && v != u.back {
			dst = appendMode(dst, u.mode, u.back)
		}
	}
	for _, u := range []struct {
		set bool
		seq string
	}{
		{m.insert, "\x1b[4l"},
		{m.newline, "\x1b[20l"},
		{m.keypad, "\x1b>"},
		{m.style, "\x1b[0 q"},
		{m.modify, "\x1b[>4m"},
		{m.protect, "\x1b[0\"q"},
		{m.colours, "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\"},
	} {
		if u.set {
			dst = append(dst, u.seq...)
		}
	}
	return cursorModes{}.charsets(dst, m.cursorModes)
}

func popKeyboard(dst []byte, n int) []byte {
	if n <= 0 {
		return dst
	}
	dst = append(dst, "\x1b[<"...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, 'u')
}

func appendMode(dst []byte, mode int, on bool) []byte {
	dst = append(dst, "\x1b[?"...)
	dst = strconv.AppendInt(dst, int64(mode), 10)
	if on {
		return append(dst, 'h')
	}
	return append(dst, 'l')
}

// closeLink ends a hyperlink, if one is open.
func closeLink(dst []byte, link string) []byte {
	if link == "" {
		return dst
	}
	return append(dst, "\x1b]8;;\x1b\\"...)
}

// appendCSI appends a control sequence with numeric parameters.
func appendCSI(dst []byte, final byte, params ...int) []byte {
	dst = append(dst, 0x1b, '[')
	for i, p := range params {
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = strconv.AppendInt(dst, int64(p), 10)
	}
	return append(dst, final)
}

func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }
