package desktop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
)

// maxAnswer bounds what is read from a dialog, in bytes.
const maxAnswer = 64 << 10

func (d *linux) Ask(ctx context.Context, q Question) (Answer, error) {
	ctx, done := d.alive(ctx)
	defer done()
	program, err := exec.LookPath("zenity")
	if err != nil {
		return Answer{Cancelled: true}, hint.Errorf("Install it: apt install zenity", "showing a dialog: %w", err)
	}
	args, input, err := zenity(q)
	if err != nil {
		return Answer{Cancelled: true}, err
	}
	select {
	case d.dialog <- struct{}{}:
		defer func() { <-d.dialog }()
	case <-ctx.Done():
		return Answer{Cancelled: true}, fmt.Errorf("waiting for another dialog: %w", context.Cause(ctx))
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Second
	out, problems := &capped{left: maxAnswer}, &capped{left: 4 << 10}
	cmd.Stdout, cmd.Stderr = out, problems
	err = cmd.Run()
	if ctx.Err() != nil {
		return Answer{Cancelled: true}, fmt.Errorf("showing a dialog: %w", context.Cause(ctx))
	}
	code := 0
	if err != nil {
		var exit *exec.ExitError
		// 1 is Cancel and every extra button, 5 a timeout; anything else is not an answer.
		if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Contains(problems.String(), "cannot open display") {
			return Answer{Cancelled: true}, fmt.Errorf("showing a dialog: %w: %s", err, strings.TrimSpace(problems.String()))
		}
		code = 1
	}
	return parseAnswer(q, code, out.String())
}

// zenity returns the arguments and standard input that show q. Every text is in the form --option=text, so that none is
// read as an option.
func zenity(q Question) (args []string, input string, err error) {
	args = []string{"--title=" + oneLine(q.Title), "--width=420"}
	cancel := "--cancel-label=" + label(q.cancelLabel())
	switch q.Kind {
	case Info:
		args = append(args, "--info", "--no-markup", "--text="+q.Text)
	case Warn:
		args = append(args, "--warning", "--no-markup", "--text="+q.Text)
	case Confirm:
		if err := q.checkButtons(); err != nil {
			return nil, "", err
		}
		args = append(args, "--question", "--no-markup", "--text="+q.Text, "--ok-label="+label(q.Buttons[0]), cancel)
		for _, b := range q.Buttons[1:] {
			args = append(args, "--extra-button="+label(b))
		}
	case Entry:
		args = append(args, "--entry", "--text="+label(q.Text), "--entry-text="+oneLine(q.Initial), cancel)
	case Password:
		args = append(args, "--entry", "--hide-text", "--text="+label(q.Text), cancel)
	case Text:
		// zenity has no room for a question above an editable text: it is the window's title.
		args[0] = "--title=" + oneLine(strings.TrimSpace(q.Title+": "+q.Text))
		args = append(args, "--text-info", "--editable", "--height=260", "--ok-label=OK", cancel)
		input = q.Initial
	case List:
		args = append(args, "--list", "--hide-header", "--column=index", "--column=choice", "--hide-column=1",
			"--print-column=1", "--height=360", "--text="+escapeMarkup(q.Text), cancel)
		var rows strings.Builder
		for i, c := range q.Choices {
			fmt.Fprintf(&rows, "%d\n%s\n", i, oneLine(c))
		}
		input = rows.String()
	default:
		return nil, "", fmt.Errorf("showing a dialog: unknown kind %d", q.Kind)
	}
	return args, input, nil
}

// checkButtons holds the buttons apart: zenity tells which one was pressed by its label.
func (q Question) checkButtons() error {
	seen := map[string]bool{q.cancelLabel(): true}
	for _, b := range q.Buttons {
		if b == "" || seen[b] {
			return fmt.Errorf("showing a dialog: button %q is empty or there twice", b)
		}
		seen[b] = true
	}
	if len(q.Buttons) == 0 {
		return errors.New("showing a dialog: a question without buttons")
	}
	return nil
}

// parseAnswer reads zenity's answer: its exit code, 0 or 1, and what it printed.
func parseAnswer(q Question, code int, printed string) (Answer, error) {
	printed = strings.TrimSuffix(printed, "\n")
	switch q.Kind {
	case Confirm:
		if code == 0 {
			return Answer{}, nil
		}
		for i, b := range q.Buttons {
			if i > 0 && printed == label(b) {
				return Answer{Button: i}, nil
			}
		}
	case Entry, Text, Password:
		if code == 0 {
			return Answer{Text: printed}, nil
		}
	case List:
		if code != 0 || printed == "" {
			break
		}
		// A double click prints the row as well as OK does: "3|3" in old versions.
		first, _, _ := strings.Cut(printed, "|")
		i, err := strconv.Atoi(first)
		if err != nil || i < 0 || i >= len(q.Choices) {
			return Answer{Cancelled: true}, fmt.Errorf("reading the answer of a dialog: unexpected %q", printed)
		}
		return Answer{Choice: i}, nil
	default:
		return Answer{}, nil
	}
	return Answer{Cancelled: true}, nil
}

// label is s for a place where an underscore marks a shortcut.
func label(s string) string { return strings.ReplaceAll(oneLine(s), "_", "__") }

func oneLine(s string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "\x00", "").Replace(s)
}

// capped is a buffer that keeps what fits and drops the rest.
type capped struct {
	kept bytes.Buffer
	left int
}

func (c *capped) String() string { return c.kept.String() }

func (c *capped) Write(p []byte) (int, error) {
	keep := min(len(p), c.left)
	c.left -= keep
	c.kept.Write(p[:keep])
	return len(p), nil
}
