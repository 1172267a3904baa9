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
	CanSignIn    bool       // [I] is offered: the agent has a sign-in of its own, and is not known to be signed in
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
	SignIn
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
	for _, part := range wrapKeys(inner, f) {
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

// Summary is the confirmation for a dialog: a line for each fact.
func Summary(f Facts) string {
	var b strings.Builder
	for _, r := range rows(f) {
		fmt.Fprintf(&b, "%s: %s\n", r.name, Printable(r.value))
	}
	return b.String() + "\nThe agent has full access inside the VM, and none outside it."
}

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
		agentRow(f),
		{"Repository", orNone(f.Repositories, "none in ~/workspace"), plain},
		backup,
	}
}

func agentRow(f Facts) row {
	switch f.AgentAuth {
	case "":
		return row{"Agent", f.Agent, plain}
	case AuthSignedIn:
		return row{"Agent", f.Agent + " (signed in)", plain}
	}
	return row{"Agent", f.Agent + " (" + authText(f.AgentAuth) + ")", yellow}
}

func orNone(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

// wrapKeys returns the keys in as many lines as they need.
func wrapKeys(width int, f Facts) []string {
	keys := []string{"[Enter] Launch", "[B] Backup First"}
	if len(f.Agents) > 0 {
		keys = append(keys, "[A] Agent")
	}
	if f.CanSignIn {
		keys = append(keys, "[I] Sign In")
	}
	keys = append(keys, "[Q] Quit")
	lines := keys[:1:1]
	for _, k := range keys[1:] {
		if last := &lines[len(lines)-1]; runewidth.StringWidth(*last+"  "+k) <= width {
			*last += "  " + k
			continue
		}
		lines = append(lines, k)
	}
	return lines
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

// Answer is what the person said to the launch confirmation.
type Answer struct {
	Choice Choice
	Agent  string // identifier, with SwitchAgent
}

// Confirm shows the confirmation on a terminal, and returns the answer once it has erased what it showed. A terminal that
// is closed, and the end of ctx, are answers: Quit.
func Confirm(ctx context.Context, tty *os.File, out io.Writer, f Facts, colour bool) (Answer, error) {
	s, err := openInline(ctx, tty, out)
	if err != nil {
		return Answer{}, err
	}
	defer s.close()
	d := &dialog{surface: s, ctx: ctx, colour: colour}
	for {
		s.block(strings.Split(strings.TrimSuffix(Render(f, s.columns(), colour), "\n"), "\n"))
		k, err := d.key()
		if err != nil {
			return Answer{Choice: Quit}, nil
		}
		choice, ok := choiceOf(k, f)
		if !ok {
			continue
		}
		if choice != SwitchAgent {
			return Answer{Choice: choice}, nil
		}
		if row, err := d.agentOf(f.Agents); err == nil {
			return Answer{Choice: SwitchAgent, Agent: row.ID}, nil
		}
	}
}

// choiceOf tells what a key answers, if anything.
func choiceOf(k key, f Facts) (Choice, bool) {
	switch {
	case k.kind == keyEnter:
		return Launch, true
	case k.is('b') || k.is('B'):
		return BackupFirst, true
	case (k.is('a') || k.is('A')) && len(f.Agents) > 0:
		return SwitchAgent, true
	case (k.is('i') || k.is('I')) && f.CanSignIn:
		return SignIn, true
	case k.is('q') || k.is('Q') || k.isBack():
		return Quit, true
	}
	return Quit, false
}
