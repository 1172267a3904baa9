package topline

import "bytes"

// sgrLog remembers the attributes in force as the sequences that led to them: cheap on a stream of colours, and
// exact whatever they mean. A reset empties it, and it is compacted when it grows.
type sgrLog struct {
	log []byte
}

const (
	maxSGR    = 2048 // where the log is compacted
	slots     = 16   // kinds of attribute
	intensity = 3    // the slot that stands for "neither bold nor faint"
)

func (l *sgrLog) reset() { l.log = l.log[:0] }

func (l *sgrLog) String() string { return string(l.log) }

func (l *sgrLog) set(s string) { l.log = append(l.log[:0], s...) }

// add takes one SGR, introducer and final byte included.
func (l *sgrLog) add(seq []byte) {
	params := seq[len("\x1b[") : len(seq)-len("m")]
	if len(params) == 0 || params[0] == '0' && (len(params) == 1 || params[1] == ';') {
		l.log = l.log[:0]
		if len(params) <= 1 {
			return
		}
	}
	if len(l.log)+len(seq) > maxSGR {
		l.compact()
	}
	l.log = append(l.log, seq...)
}

// compact drops what later sequences override.
func (l *sgrLog) compact() {
	var last [slots][]byte
	for seq := range bytes.SplitSeq(l.log, []byte("\x1b[")) {
		seq = bytes.TrimSuffix(seq, []byte("m"))
		for len(seq) > 0 {
			one, rest := nextAttribute(seq)
			slot := attributeSlot(one)
			switch {
			case slot == 0:
				last = [slots][]byte{}
			case slot == intensity: // takes away both bold and faint, which are two attributes
				last[1], last[2] = nil, nil
			case slot > 0:
				last[slot] = one
			}
			seq = rest
		}
	}
	var out []byte
	for _, one := range last {
		if len(one) > 0 {
			out = append(out, 0x1b, '[')
			out = append(out, one...)
			out = append(out, 'm')
		}
	}
	if len(out) > maxSGR/2 {
		out = out[:0] // attributes that long are nonsense
	}
	l.log = append(l.log[:0], out...)
}

// nextAttribute cuts the first attribute off a list of SGR parameters: 38;5;n and 38;2;r;g;b are one.
func nextAttribute(p []byte) (one, rest []byte) {
	end := func(from int) int {
		if i := bytes.IndexByte(p[from:], ';'); i >= 0 {
			return from + i
		}
		return len(p)
	}
	e := end(0)
	if s := string(p[:e]); s == "38" || s == "48" || s == "58" {
		more := 0
		if bytes.HasPrefix(p[e:], []byte(";5;")) {
			more = 2
		} else if bytes.HasPrefix(p[e:], []byte(";2;")) {
			more = 4
		}
		for ; more > 0 && e < len(p); more-- {
			e = end(e + 1)
		}
	}
	if e < len(p) {
		return p[:e], p[e+1:]
	}
	return p, nil
}

// attributeSlot says which attribute it sets, 0 for a reset, -1 for one not known.
func attributeSlot(one []byte) int {
	n := 0
	for _, b := range one {
		if b < '0' || b > '9' {
			break
		}
		if n = n*10 + int(b-'0'); n > 255 {
			return -1
		}
	}
	switch {
	case n == 0:
		return 0
	case n == 1:
		return 1
	case n == 2:
		return 2
	case n == 22:
		return intensity
	case n == 3 || n == 23 || n == 20:
		return 4
	case n == 4 || n == 21 || n == 24:
		return 5
	case n == 5 || n == 6 || n == 25:
		return 6
	case n == 7 || n == 27:
		return 7
	case n == 8 || n == 28:
		return 8
	case n == 9 || n == 29:
		return 9
	case n >= 10 && n <= 19:
		return 10
	case n >= 30 && n <= 39 || n >= 90 && n <= 97:
		return 11
	case n >= 40 && n <= 49 || n >= 100 && n <= 107:
		return 12
	case n == 53 || n == 55:
		return 13
	case n == 58 || n == 59:
		return 14
	case n >= 73 && n <= 75:
		return 15
	}
	return -1
}
