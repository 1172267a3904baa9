package main

import (
	"fmt"
	"strconv"
	"strings"
)

// syntax is what a command takes. Options begin with "--"; Values maps those that take one to its name in messages.
type syntax struct {
	flags  []string
	values map[string]string
	short  map[string]string // "-t" -> "--timeout"
	names  []string          // of positionals; one that ends in "..." takes the rest
	rest   bool              // the first positional ends option parsing (row 51)
}

type arguments struct {
	command     string
	flags       map[string]bool
	values      map[string][]string
	positionals []string
}

var (
	cloneSyntax = syntax{
		flags:  []string{"--insecure"},
		values: map[string]string{"--concurrency": "concurrency", "--prune-limit": "prune-limit"},
		names:  []string{"source-name", "new-name"},
	}
	createSyntax = syntax{
		flags: []string{"--linux"},
		values: map[string]string{
			"--from-ipsw": "from-ipsw", "--disk-size": "disk-size", "--disk-format": "disk-format",
		},
		names: []string{"name"},
	}
	deleteSyntax = syntax{names: []string{"name ..."}}
	execSyntax   = syntax{
		flags: []string{"--interactive", "--tty"}, short: map[string]string{"-i": "--interactive", "-t": "--tty"},
		names: []string{"name", "command ..."}, rest: true,
	}
	getSyntax = syntax{values: map[string]string{"--format": "format"}, names: []string{"name"}}
	ipSyntax  = syntax{
		values: map[string]string{"--wait": "wait", "--resolver": "resolver"}, names: []string{"name"},
	}
	listSyntax = syntax{
		flags: []string{"--quiet"}, short: map[string]string{"-q": "--quiet"},
		values: map[string]string{"--source": "source", "--format": "format"},
	}
	pruneSyntax = syntax{values: map[string]string{
		"--entries": "entries", "--older-than": "older-than", "--space-budget": "space-budget",
	}}
	pullSyntax = syntax{
		flags: []string{"--insecure"}, values: map[string]string{"--concurrency": "concurrency"},
		names: []string{"remote-name"},
	}
	renameSyntax = syntax{names: []string{"name", "new-name"}}
	runSyntax    = syntax{
		flags: []string{
			"--no-graphics", "--no-audio", "--no-clipboard", "--net-softnet", "--net-host", "--suspendable",
			"--vnc", "--vnc-experimental", "--recovery", "--nested", "--serial", "--no-trackpad", "--no-pointer",
			"--no-keyboard", "--capture-system-keys",
		},
		values: map[string]string{
			"--dir": "dir", "--disk": "disk", "--rosetta": "rosetta", "--net-bridged": "net-bridged",
			"--net-softnet-allow": "net-softnet-allow", "--net-softnet-block": "net-softnet-block",
			"--net-softnet-expose": "net-softnet-expose", "--root-disk-opts": "root-disk-opts",
			"--serial-path": "serial-path",
		},
		names: []string{"name"},
	}
	setSyntax = syntax{
		flags: []string{"--random-mac", "--random-serial", "--display-refit", "--no-display-refit"},
		values: map[string]string{
			"--cpu": "cpu", "--memory": "memory", "--display": "display", "--disk": "disk", "--disk-size": "disk-size",
		},
		names: []string{"name"},
	}
	stopSyntax = syntax{
		values: map[string]string{"--timeout": "timeout"}, short: map[string]string{"-t": "--timeout"},
		names: []string{"name"},
	}
	suspendSyntax = syntax{names: []string{"name"}}
)

func (s syntax) parse(command string, argv []string) (*arguments, error) {
	a := &arguments{command: command, flags: map[string]bool{}, values: map[string][]string{}}
	for len(argv) > 0 {
		arg := argv[0]
		argv = argv[1:]
		switch {
		case arg == "--":
			a.positionals, argv = append(a.positionals, argv...), nil
		case !strings.HasPrefix(arg, "-") || arg == "-":
			a.positionals = append(a.positionals, arg)
			if s.rest {
				a.positionals, argv = append(a.positionals, argv...), nil
			}
		default:
			var err error
			if argv, err = s.option(a, arg, argv); err != nil {
				return nil, err
			}
		}
	}
	return a, s.checkPositionals(a)
}

// option reads one option and returns what is left of argv.
func (s syntax) option(a *arguments, arg string, argv []string) ([]string, error) {
	name, value, joined := strings.Cut(arg, "=")
	if long, ok := s.short[name]; ok {
		name = long
	}
	for _, f := range s.flags {
		if f == name && !joined {
			a.flags[f] = true
			return argv, nil
		}
	}
	label, ok := s.values[name]
	if !ok {
		return nil, failUsage(a.command, "Unknown option '%s'", arg)
	}
	if !joined {
		if len(argv) == 0 || strings.HasPrefix(argv[0], "-") {
			return nil, failUsage(a.command, "Missing value for '%s <%s>'", name, label)
		}
		value, argv = argv[0], argv[1:]
	}
	a.values[name] = append(a.values[name], value)
	return argv, nil
}

func (s syntax) checkPositionals(a *arguments) error {
	for i, name := range s.names {
		if i >= len(a.positionals) {
			return failUsage(a.command, "Missing expected argument '<%s>%s'",
				strings.TrimSuffix(name, " ..."), strings.TrimPrefix(name, strings.TrimSuffix(name, " ...")))
		}
	}
	open := len(s.names) > 0 && strings.HasSuffix(s.names[len(s.names)-1], "...")
	if len(a.positionals) > len(s.names) && !open {
		return failUsage(a.command, "Unexpected argument '%s'", a.positionals[len(s.names)])
	}
	return nil
}

// last is the value of an option, or otherwise.
func (a *arguments) last(option, otherwise string) string {
	if v := a.values[option]; len(v) > 0 {
		return v[len(v)-1]
	}
	return otherwise
}

func (a *arguments) has(option string) bool { return a.flags[option] || len(a.values[option]) > 0 }

// number is the value of a 16-bit unsigned option (row 44).
func (a *arguments) number(option, otherwise string) (int, error) {
	v := a.last(option, otherwise)
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return 0, failUsage(a.command, "The value '%s' is invalid for '%s <%s>'", v, option, option[2:])
	}
	return int(n), nil
}

// choice is the value of an option that has few (row 24).
func (a *arguments) choice(option string, first string, others ...string) (string, error) {
	v := a.last(option, first)
	if v == first {
		return v, nil
	}
	for _, o := range others {
		if v == o {
			return v, nil
		}
	}
	list := fmt.Sprintf("'%s'", first)
	for i, o := range others {
		if i == len(others)-1 {
			list += fmt.Sprintf(" and '%s'", o)
		} else {
			list += fmt.Sprintf(", '%s'", o)
		}
	}
	return "", failUsage(a.command, "The value '%s' is invalid for '%s <%s>'. Please provide one of %s.",
		v, option, option[2:], list)
}
