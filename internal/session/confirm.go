package session

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/mattn/go-runewidth"

	"github.com/calmenu/calmenu/internal/isolation"
)

// Facts are what the launch confirmation shows, all read just now.
type Facts struct {
	Workspace    string
	VM           string // "running for 3 minutes"
	Level        isolation.Level
	Reason       string // why the level is not Verified
	Passed       int
	Total        int
	Environments []string
	Agent        string
	AgentAuth    string     // AuthSignedIn, AuthSignedOut, AuthUnknown; empty: not shown
	Agents       []AgentRow // what [A] offers; empty: it is not offered
	Repositories []string   // "app (branch agent/fix)"
	LastBackup   time.Time
	BackupKind   string
	Now          time.Time
}

// Choice is the person's answer to the launch confirmation.
type Choice int

// The answers.
const (
	Quit Choice = iota
	Launch
	BackupFirst
	SwitchAgent
)

// Render returns the confirmation as lines for a terminal of the given width (columns), with ANSI colour if colour is
// true. It is usable from 40 columns on.
func Render(f Facts, width int, colour bool) string {
	width = min(max(width, 40), 100)
	inner := width - 4
	var b strings.Builder
	line := func(s string) {
		fmt.Fprintf(&b, "│ %s%s │\n", s, strings.Repeat(" ", max(0, inner-visible(s))))
	}
	title := "─ CAL Isolation Check "
	fmt.Fprintf(&b, "╭%s%s╮\n", title, strings.Repeat("─", width-2-runewidth.StringWidth(title)))
	for _, r := range rows(f) {
		for i, part := range wrap(r.value, inner-14) {
			name := r.name
			if i > 0 {
				name = ""
			}
			line(fmt.Sprintf("%-13s ", name) + paint(part, r.colour, colour))
		}
	}
	line("")
	for _, part := range wrap("The agent has full access inside the VM, and none outside it.", inner) {
		line(part)
	}
	line("")
	for _, part := range wrapKeys(inner) {
		line(paint(part, bold, colour))
	}
	fmt.Fprintf(&b, "╰%s╯\n", strings.Repeat("─", width-2))
	return b.String()
}

const (
	plain  = ""
	bold   = "1"
	green  = "32"
	yellow = "33"
	red    = "31"
)

type row struct{ name, value, colour string }

func rows(f Facts) []row {
	iso := row{"Isolation", fmt.Sprintf("✓ verified (%d of %d checks)", f.Passed, f.Total), green}
	switch f.Level {
	case isolation.Verified:
	case isolation.Weakened:
		iso = row{"Isolation", fmt.Sprintf("! weakened: %s", f.Reason), yellow}
	case isolation.Broken:
		iso = row{"Isolation", fmt.Sprintf("✗ BROKEN: %s", f.Reason), red}
	default:
		iso = row{"Isolation", "? not proven: " + f.Reason, yellow}
	}
	backup := row{"Last backup", "none yet", yellow}
	if !f.LastBackup.IsZero() {
		backup = row{"Last backup", fmt.Sprintf("%s (%s)", humanize.RelTime(f.LastBackup, f.Now, "ago", "from now"),
			f.BackupKind), plain}
	}
	return []row{
		{"Workspace", f.Workspace, plain},
		{"VM", "● " + f.VM, green},
		iso,
		{"Environments", orNone(f.Environments, "none"), plain},
		{"Agent", f.Agent, plain},
		{"Repository", orNone(f.Repositories, "none in ~/workspace"), plain},
		backup,
	}
}

func orNone(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

func wrapKeys(width int) []string {
	keys := "[Enter] Launch  [B] Backup First  [Q] Quit"
	if runewidth.StringWidth(keys) <= width {
		return []string{keys}
	}
	return []string{"[Enter] Launch  [B] Backup First", "[Q] Quit"}
}

func paint(s, sgr string, colour bool) string {
	if !colour || sgr == plain {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

// visible returns the columns s takes, not counting what paint added.
func visible(s string) int {
	for {
		i := strings.Index(s, "\x1b[")
		if i < 0 {
			return runewidth.StringWidth(s)
		}
		j := strings.IndexByte(s[i:], 'm')
		s = s[:i] + s[i+j+1:]
	}
}

// wrap breaks text into lines of at most width columns, at spaces where there are any.
func wrap(s string, width int) []string {
	s = Printable(s)
	var lines []string
	cur := ""
	for word := range strings.FieldsSeq(s) {
		for runewidth.StringWidth(word) > width {
			if cur != "" {
				lines, cur = append(lines, cur), ""
			}
			head := runewidth.Truncate(word, width, "")
			if head == "" { // one character wider than the line: it must go somewhere
				_, n := utf8.DecodeRuneInString(word)
				head = word[:n]
			}
			lines, word = append(lines, head), word[len(head):]
		}
		switch {
		case cur == "":
			cur = word
		case runewidth.StringWidth(cur)+1+runewidth.StringWidth(word) <= width:
			cur += " " + word
		default:
			lines, cur = append(lines, cur), word
		}
	}
	if cur != "" || len(lines) == 0 {
		lines = append(lines, cur)
	}
	return lines
}

// Printable removes what would act on a terminal rather than be shown: text that comes from the guest passes through it.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' ||
			r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// ReadChoice reads keys until one is an answer. in is a terminal in raw mode, or any stream: then a line's first
// character counts, and its end is a refusal, since nobody is there to agree.
func ReadChoice(in io.Reader) (Choice, error) {
	var b [1]byte
	for {
		n, err := in.Read(b[:])
		if n == 1 {
			switch b[0] {
			case '\r', '\n':
				return Launch, nil
			case 'b', 'B':
				return BackupFirst, nil
			case 'q', 'Q', 0x03, 0x04, 0x1b:
				return Quit, nil
			}
		}
		if err == io.EOF {
			return Quit, nil
		}
		if err != nil {
			return Quit, fmt.Errorf("reading the answer: %w", err)
		}
	}
}

// Answer is what the person said to the launch confirmation.
type Answer struct {
	Choice Choice
	Agent  string // identifier, with SwitchAgent
}

// Confirm shows the confirmation on a terminal, and returns the answer once it has erased what it showed.
func Confirm(ctx context.Context, tty *os.File, out io.Writer, f Facts, colour bool) (Answer, error) {
	c, err := Ask(tty, out, f, colour)
	return Answer{Choice: c}, err
}
