// Package pf is macOS's packet filter: an anchor of rules, which may lead this machine's own connections to its loopback, and
// the question where a connection that was led there wanted to go. Only the question needs macOS to be compiled.
//
// What must hold: nothing but an anchor of our own is changed, and the filter is left as it was found, on or off.
package pf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Anchor is where the rules are: macOS's own pf.conf has everything below com.apple evaluated, so nothing else need be changed.
const Anchor = "com.apple/calmenu"

// Filter is the packet filter, turned on by us.
type Filter struct {
	token string // of our turning it on: it is turned off with the last one's
	file  string // where that is remembered
}

// Open turns the packet filter on. file remembers that for who has to turn it off after us, if we are killed; it is to be lost
// when the machine starts.
func Open(ctx context.Context, file string) (*Filter, error) {
	if err := evaluated(ctx); err != nil {
		return nil, err
	}
	said, err := pfctl(ctx, "", "-E")
	if err != nil {
		return nil, err
	}
	found := tokenLine().FindStringSubmatch(said)
	if found == nil {
		return nil, fmt.Errorf("pfctl -E names no token: %q", said)
	}
	if before, err := os.ReadFile(file); err == nil {
		_, _ = pfctl(ctx, "", "-X", strings.TrimSpace(string(before))) // it may be known no more
	}
	f := &Filter{token: found[1], file: file}
	if err := os.WriteFile(file, []byte(f.token+"\n"), 0o600); err != nil {
		return nil, errors.Join(err, f.off(ctx))
	}
	return f, nil
}

var tokenLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^Token : ([0-9]+)\s*$`) })

// evaluated tells whether rules in the anchor would do anything.
func evaluated(ctx context.Context) error {
	for what, reference := range map[string]string{"rules": `anchor "com.apple/*"`, "nat": `rdr-anchor "com.apple/*"`} {
		said, err := pfctl(ctx, "", "-s", what)
		if err != nil {
			return err
		}
		if !strings.Contains("\n"+said, "\n"+reference) {
			return fmt.Errorf("the packet filter does not evaluate %s: /etc/pf.conf is not as macOS has it", reference)
		}
	}
	said, err := pfctl(ctx, "", "-s", "Interfaces", "-i", "lo0", "-v")
	if err != nil {
		return err
	}
	if strings.Contains(said, "skip") {
		return errors.New("the packet filter skips lo0, by which connections are redirected")
	}
	return nil
}

// Load has the anchor hold these rules and no others, from now on. Connections that exist are left alone.
func (*Filter) Load(ctx context.Context, rules string) error {
	_, err := pfctl(ctx, rules, "-a", Anchor, "-f", "-")
	return err
}

// Clear has the anchor hold no rules. Connections that exist are left alone, as long as the filter is on.
func (*Filter) Clear(ctx context.Context) error {
	_, err := pfctl(ctx, "", "-a", Anchor, "-F", "all")
	return err
}

// Close takes everything back. If nobody else has the filter on, connections that were redirected end with it.
func (f *Filter) Close(ctx context.Context) error {
	return errors.Join(f.Clear(ctx), f.off(ctx), os.Remove(f.file))
}

func (f *Filter) off(ctx context.Context) error {
	_, err := pfctl(ctx, "", "-X", f.token)
	return err
}

// pfctl returns what that says, on both its outputs: the token is said with its remarks.
func pfctl(ctx context.Context, in string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "pfctl", args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pfctl %s: %w: %s", strings.Join(args, " "), err, complaint(out))
	}
	return string(out), nil
}

// remarks are in what pfctl of macOS says whatever happens.
var remarks = []string{"ALTQ", "Use of -f option", "present in the main ruleset", "See /etc/pf.conf"}

// complaint is the first line that pfctl says beside its remarks.
func complaint(out []byte) string {
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if line != "" && !slices.ContainsFunc(remarks, func(r string) bool { return strings.Contains(line, r) }) {
			return line
		}
	}
	return ""
}
