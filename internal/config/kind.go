package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"gopkg.in/yaml.v3"

	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/netpolicy"
)

// kind is a type of value: how it is written in YAML, what is right, and how its text is read.
type kind struct {
	tag      string // YAML tag a scalar (or each element of a list) must have
	list     bool
	either   bool // a text or a list of texts: a command
	expected string
	parse    func(text string) (any, error) // of the scalar, or of each element
	collect  func(elements []string) (any, error)
}

// accepts tells whether a node is a scalar of this kind's type. Times may be quoted or not; digits too many for YAML's
// integers are a number all the same.
func (k kind) accepts(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	switch tag := n.ShortTag(); k.tag {
	case "!!timestamp":
		return tag == k.tag || tag == "!!str"
	case "!!int":
		return tag == k.tag || tag == "!!float" && strings.Trim(n.Value, "0123456789") == ""
	default:
		return tag == k.tag
	}
}

// errRange marks a value of the right type outside its limits.
var errRange = errors.New("out of range")

var errInvalid = errors.New("not valid")

func wholeNumber(least, most int) kind {
	return kind{
		tag:      "!!int",
		expected: fmt.Sprintf("a whole number from %d to %d", least, most),
		parse: func(s string) (any, error) {
			n, err := strconv.Atoi(s)
			switch {
			case errors.Is(err, strconv.ErrRange):
				return nil, errRange
			case err != nil:
				return nil, errInvalid
			case n < least || n > most:
				return nil, errRange
			}
			return n, nil
		},
	}
}

// versionNumber is the one version of the files' shape there is.
func versionNumber() kind {
	k := wholeNumber(1, 1)
	k.expected = "1; a file with a higher version needs a newer CALMenu"
	return k
}

func yesNo() kind {
	return kind{tag: "!!bool", expected: "true or false", parse: func(s string) (any, error) {
		switch strings.ToLower(s) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, errInvalid
	}}
}

// text is any text of at most 1000 characters without control characters, for which check returns true.
func text(expected string, check func(string) bool) kind {
	return kind{tag: "!!str", expected: expected, parse: func(s string) (any, error) {
		if !printable(s) || !check(s) {
			return nil, errInvalid
		}
		return s, nil
	}}
}

func printable(s string) bool {
	return len(s) <= 1000 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

func anyText(string) bool { return true }

func matching(expected, expr string) kind {
	return text(expected, lazyre.New(expr).MatchString)
}

func oneOf(values ...string) kind {
	expected := strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
	return text(expected, func(s string) bool {
		for _, v := range values {
			if s == v {
				return true
			}
		}
		return false
	})
}

func listOf(expected string, check func(string) bool) kind {
	element := text(expected, func(s string) bool { return s != "" && check(s) })
	element.list = true
	element.expected = "a list of " + expected
	element.collect = func(all []string) (any, error) { return append([]string{}, all...), nil }
	return element
}

var sizeRE = lazyre.New(`^[0-9]{1,12}(\.[0-9]{1,3})? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`)

// byteSize is a number of bytes with its unit; kB to TB count by 1000, KiB to TiB by 1024.
func byteSize(least, most string) kind {
	low, high := bytesOf(least), bytesOf(most)
	return kind{
		tag:      "!!str",
		expected: fmt.Sprintf("a size from %s to %s, such as 500MB or 2GiB", least, most),
		parse: func(s string) (any, error) {
			if !sizeRE.MatchString(s) {
				return nil, errInvalid
			}
			n, err := humanize.ParseBytes(s)
			if err != nil || n > math.MaxInt64 || int64(n) < low || int64(n) > high {
				return nil, errRange
			}
			return int64(n), nil
		},
	}
}

// bytesOf reads a size written in this package's own table.
func bytesOf(s string) int64 {
	n, err := humanize.ParseBytes(s)
	if err != nil {
		panic("config: size in the schema: " + err.Error())
	}
	return int64(n)
}

func duration(least, most time.Duration) kind {
	return kind{
		tag:      "!!str",
		expected: fmt.Sprintf("a duration from %s to %s, such as 90s or 5m", brief(least), brief(most)),
		parse: func(s string) (any, error) {
			d, err := time.ParseDuration(s)
			if err != nil {
				return nil, errInvalid
			}
			if d < least || d > most {
				return nil, errRange
			}
			return d, nil
		},
	}
}

// brief writes a duration without zero parts: 24h, not 24h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func timestamp() kind {
	return kind{tag: "!!timestamp", expected: "a time such as 2026-01-17T14:30:00Z", parse: func(s string) (any, error) {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return nil, errInvalid
		}
		return t, nil
	}}
}

func command() kind {
	return kind{
		tag: "!!str", either: true,
		expected: "a command, as one text or as a list of arguments",
		parse: func(s string) (any, error) {
			if len(s) > 4000 || strings.ContainsRune(s, 0) {
				return nil, errInvalid
			}
			return parseCommand(s)
		},
		collect: func(all []string) (any, error) {
			if len(all) == 0 || all[0] == "" {
				return nil, errInvalid
			}
			return Command{Argv: append([]string{}, all...)}, nil
		},
	}
}

func isGlob(s string) bool {
	_, err := path.Match(s, "x")
	return err == nil && !strings.HasPrefix(s, "/") && !strings.Contains(s, "..")
}

func isDestination(s string) bool {
	_, err := netpolicy.ParseDestination(s, "")
	return err == nil
}

func isRule(s string) bool {
	_, err := netpolicy.ParseEntry(s, "")
	return err == nil
}

// isProbe tells whether s is a name and a port.
func isProbe(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	name, _, err := netpolicy.Canonical(host)
	_, perr := netpolicy.ParsePort(port)
	return err == nil && perr == nil && name != ""
}

func isHostProxy(s string) bool {
	if s == "auto" || s == "off" {
		return true
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return false
	}
	if _, password := u.User.Password(); password {
		return false
	}
	return slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}

func isPAC(s string) bool {
	if s == "" || filepath.IsAbs(s) {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.User == nil &&
		((u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" || u.Scheme == "file" && filepath.IsAbs(u.Path))
}

func isOptionalPath(s string) bool { return s == "" || isHostPath(s) }

var signInHostRE = lazyre.New(`^(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$`)

// signInHost tells whether s is a host name of the public kind: such are the sites a browser may be sent to.
func signInHost(s string) bool { return len(s) <= 253 && signInHostRE.MatchString(s) }

func isHostPath(s string) bool { return strings.HasPrefix(s, "/") || strings.HasPrefix(s, "~/") }

func isMirror(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

func isTerminal(s string) bool {
	words, err := SplitWords(s)
	return err == nil && len(words) > 0
}

// fromText reads a value as a flag, an environment variable or Set gives it: lists are separated by commas, or a YAML
// list in brackets.
func (k kind) fromText(s string) (any, error) {
	if !k.list {
		return k.parse(s)
	}
	s = strings.TrimSpace(s)
	if inside, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inside, "]") {
		s = strings.TrimSuffix(inside, "]")
	}
	var all []string
	for _, part := range splitList(s) {
		part = strings.Trim(strings.TrimSpace(part), `"'`)
		if part == "" && strings.TrimSpace(s) == "" {
			break
		}
		if _, err := k.parse(part); err != nil {
			return nil, err
		}
		all = append(all, part)
	}
	return k.collect(all)
}

// splitList splits at commas, but not within an element in quotes.
func splitList(s string) []string {
	var parts []string
	begin, quote := 0, byte(0)
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && strings.TrimSpace(s[begin:i]) == "":
			quote = c
		case c == ',':
			parts = append(parts, s[begin:i])
			begin = i + 1
		}
	}
	return append(parts, s[begin:])
}
