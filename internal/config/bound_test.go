package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/config"
)

// TestHostileFiles reads files made to take time or memory; each is answered with a bounded list of problems.
func TestHostileFiles(t *testing.T) {
	const most = 256 << 10
	var unknown, aliases strings.Builder
	for i := 0; unknown.Len() < most-100; i++ {
		fmt.Fprintf(&unknown, "key%d: 1\n", i)
	}
	aliases.WriteString("x0: &x0 {a: 1}\n")
	for i := range 1000 {
		fmt.Fprintf(&aliases, "x%d: &x%d [*x%d, *x%d, *x%d]\n", i+1, i+1, i, i, i)
	}
	aliases.WriteString("agents: *x1000\nnetwork: {allow: *x1000}\n")
	for name, text := range map[string]string{
		"unknown keys":     unknown.String(),
		"aliases":          aliases.String(),
		"alias of itself":  "agents: &a {x: *a, y: *a}\n",
		"brackets":         strings.Repeat("[", most-1),
		"braces":           strings.Repeat("{a: ", most/4-1),
		"dashes":           strings.Repeat("- ", most/2-1),
		"indented":         strings.Repeat("a:\n ", most/4-1),
		"list of one kind": "network: {allow: [" + strings.Repeat("a b,", most/4-10) + "]}",
		"question marks":   strings.Repeat("? ", most/2-1),
		"long key":         strings.Repeat("k", most-10) + ": 1",
		"long key in full": "? " + strings.Repeat("k", most-10) + "\n: 1",
		"control key":      `"a\nb\e[2J": 1`,
		"long value":       "agent: " + strings.Repeat("v", most-10),
		"quotes":           `"` + strings.Repeat(`\"`, most/2-4),
		"too large":        strings.Repeat("#", most+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(home(t, text, ""), noEnv)
			var problems *config.Problems
			if !errors.As(err, &problems) || len(problems.List) > 101 {
				t.Fatalf("%d problems, %.100v", len(problems.List), err)
			}
			for _, p := range problems.List {
				if line := p.String(); len(line) > 1000 || strings.ContainsAny(line, "\n\x1b") {
					t.Errorf("no line for a person: %.100q (%d bytes)", line, len(line))
				}
			}
		})
	}
}
