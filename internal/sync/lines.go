package sync

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	manifestVersion = 1
	maxLine         = 64 << 10 // bytes
	usualLine       = 512      // the same; most are shorter
	leastLine       = 384      // the same; most are longer
)

// Events of the manifest.
const (
	eventLanded  = "landed"
	eventSeen    = "seen" // content that is there already comes from another source now: not sent again
	eventRefused = "refused"
	eventBoot    = "boot"    // of the host, by Source: lines follow that were written since
	eventFlushed = "flushed" // what the lines before the offset in Source say is on the disk
	eventSettled = "settled" // what they say has been looked at since the host has booted
	eventLost    = "lost"    // an artifact that was not on the disk when it had
)

// line is one of the manifest.
type line struct {
	V      int       `json:"v"`
	Event  string    `json:"event"`
	Time   time.Time `json:"time"`
	Source string    `json:"source,omitempty"`
	Entry  string    `json:"entry,omitempty"` // what was refused, escaped
	Reason string    `json:"reason,omitempty"`

	Up time.Duration `json:"up,omitempty"` // nanoseconds, of a boot: since it, when the line was written

	*Artifact

	text []byte // as it was encoded, while it has not changed since; a line is written twice
}

// encode writes lines, and where each ends.
func encode(lines []line) (text []byte, ends []int64, err error) {
	var b bytes.Buffer
	b.Grow(usualLine * len(lines))
	ends = make([]int64, 0, len(lines))
	to := json.NewEncoder(&b)
	for _, l := range lines {
		if l.text != nil {
			b.Write(l.text)
		} else {
			l.V = manifestVersion
			if err := to.Encode(l); err != nil {
				return nil, nil, fmt.Errorf("writing the manifest: %w", err)
			}
		}
		ends = append(ends, int64(b.Len()))
	}
	return b.Bytes(), ends, nil
}

// readLines returns the lines of a manifest, oldest first. Lines torn by a crash, of a later version, or too long are
// passed over.
func readLines(name string) ([]line, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	defer f.Close()
	lines, err := parseLines(f)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest %s: %w", name, err)
	}
	return lines, nil
}

func parseLines(r io.Reader) (lines []line, err error) {
	_, err = scanLines(r, func(text []byte, _ int64) {
		var l line
		if json.Unmarshal(text, &l) == nil && l.valid() {
			lines = append(lines, l)
		}
	})
	return lines, err
}

// scanLines hands on the text of each line that is not too long, with the offset behind it, and returns how much it has read.
func scanLines(r io.Reader, take func(text []byte, end int64)) (read int64, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	tooLong := false
	for {
		text, err := in.ReadSlice('\n')
		read += int64(len(text))
		if errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			continue
		}
		if !tooLong {
			take(text, read)
		}
		tooLong = false
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}

func (l line) valid() bool {
	f := l.fact()
	return f.valid() && (l.Artifact != nil) == f.landed()
}
