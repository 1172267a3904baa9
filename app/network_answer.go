package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/netpolicy"
)

// onceTime is how long an answer that is not written into the configuration holds: one click of a person's is several
// connections of a program's.
const onceTime = 15 * time.Minute

// maxAnswers bounds the answers kept of one workspace.
const maxAnswers = 64

// netAnswer is what a person said about a destination, for a time.
type netAnswer struct {
	Entry string    `json:"entry"` // as netpolicy.ParseEntry reads it
	Made  time.Time `json:"made"`
	Until time.Time `json:"until"`
}

func (a *App) answersFile(name string) string {
	return filepath.Join(a.Home.WorkspaceDir(name), "network-answers.json")
}

func (a *App) netAnswers(name string, now time.Time) ([]netAnswer, error) {
	b, err := os.ReadFile(a.answersFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the answers about the network: %w", err)
	}
	var all []netAnswer
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("reading the answers about the network: %w", err)
	}
	return slices.DeleteFunc(all, func(x netAnswer) bool { return !now.Before(x.Until) }), nil
}

// answeredRules are the rules of the answers that hold now, the latest first.
func (a *App) answeredRules(name string, now time.Time) []netpolicy.Rule {
	all, err := a.netAnswers(name, now)
	if err != nil {
		a.Log.Warn().Str("workspace", name).Err(err).Msg("answers about the network")
		return nil
	}
	var rules []netpolicy.Rule
	for _, x := range slices.Backward(all) {
		origin := "answered, until " + x.Until.Local().Format(time.TimeOnly)
		if r, err := netpolicy.ParseEntry(x.Entry, origin); err == nil {
			rules = append(rules, r...)
		}
	}
	return rules
}

// changeAnswers replaces the answers under a lock of their own.
func (a *App) changeAnswers(name string, change func([]netAnswer) []netAnswer) error {
	l := a.lockFile(name, "net")
	if err := l.Lock(); err != nil {
		return fmt.Errorf("locking the answers about the network: %w", err)
	}
	defer func() { _ = l.Close() }()
	all, err := a.netAnswers(name, time.Now())
	if err != nil {
		return err
	}
	all = change(all)
	if len(all) > maxAnswers {
		all = all[len(all)-maxAnswers:]
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("writing the answers about the network: %w", err)
	}
	return atomicfile.Write(a.answersFile(name), b, 0o600)
}

// answerFor notes an answer for a time.
func (a *App) answerFor(name string, r netpolicy.Rule) error {
	now := time.Now()
	return a.changeAnswers(name, func(all []netAnswer) []netAnswer {
		all = withoutAnswers(all, r)
		return append(all, netAnswer{Entry: r.Entry(), Made: now, Until: now.Add(onceTime)})
	})
}

// withoutAnswers drops the answers for the same destination.
func withoutAnswers(all []netAnswer, r netpolicy.Rule) []netAnswer {
	return slices.DeleteFunc(all, func(x netAnswer) bool {
		old, err := netpolicy.ParseEntry(x.Entry, "")
		return err == nil && len(old) == 1 && bare(old[0]) == bare(r)
	})
}

// bare is a rule's destination without the word behind it.
func bare(r netpolicy.Rule) string {
	host, _, _ := strings.Cut(r.String(), " ")
	return host
}

// NetAnswer is how a person answers a question about a destination.
type NetAnswer string

// The answers.
const (
	NetOnce   NetAnswer = "once"
	NetAlways NetAnswer = "always"
	NetDeny   NetAnswer = "deny"
)

// AnswerNetwork carries out what a person said, by a click, about a destination ("host:port") a guest asked for. The name
// is the guest's choice: it is allowed for public addresses only, now and when it resolves to others later.
func (a *App) AnswerNetwork(ctx context.Context, workspace, destination string, answer NetAnswer) error {
	w, err := a.Workspace(workspace)
	if err != nil {
		return err
	}
	r, err := netpolicy.ParseRule(destination)
	if err != nil {
		return err
	}
	_, isAddr := addrOf(destination)
	text := r.String()
	if !isAddr {
		text += " public"
	}
	if answer != NetDeny {
		if err := a.publicOnly(ctx, destination); err != nil {
			return err
		}
	}
	switch answer {
	case NetOnce, NetDeny:
		entry := "allow " + text
		if answer == NetDeny {
			entry = "deny " + r.String()
		}
		rules, err := netpolicy.ParseEntry(entry, "")
		if err != nil {
			return err
		}
		if err := a.answerFor(w.Name, rules[0]); err != nil {
			return err
		}
	case NetAlways:
		if err := a.addAllowed(w, text); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%q is no answer", answer)
	}
	return a.answered(w.Name, destination, string(answer))
}

func addrOf(destination string) (host string, isAddr bool) {
	host, _, err := net.SplitHostPort(destination)
	if err != nil {
		host = destination
	}
	_, addr, err := netpolicy.Canonical(host)
	return host, err == nil && addr.IsValid()
}

// lookupTime bounds the look at where a name leads before it is allowed.
const lookupTime = 5 * time.Second

// publicOnly refuses a destination that leads into the host's neighbourhood now: who clicks has not seen that.
func (a *App) publicOnly(ctx context.Context, destination string) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	host, _ := addrOf(destination)
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil //nolint:nilerr // the proxy may know it; the rule lets it lead to public addresses only
	}
	for _, addr := range addrs {
		if reach, what := netpolicy.Judge(addr, nil); reach != netpolicy.Public {
			return hint.Errorf("If that is meant: CALMenu net allow "+host,
				"%s leads to %v, %s: such a destination is not allowed by a click", host, addr, what)
		}
	}
	return nil
}

// answered journals an answer.
func (a *App) answered(workspace, destination, answer string) error {
	return a.Journal.Append(journal.Event{
		Kind: journal.NetAnswered, Workspace: workspace, Path: destination, Detail: answer,
	})
}

// AllowNetwork lets a workspace's guest reach a destination, always or once (for a while), as a person has typed it: any
// that network.allow may hold. It returns what still stands against it, as a sentence; empty if nothing does.
func (a *App) AllowNetwork(ctx context.Context, workspace, destination string, once bool) (string, error) {
	w, err := a.Workspace(workspace)
	if err != nil {
		return "", err
	}
	rules, err := netpolicy.ParseDestination(destination, "")
	if err != nil {
		return "", err
	}
	if once {
		for _, r := range rules {
			if err := a.answerFor(w.Name, r); err != nil {
				return "", err
			}
		}
	} else {
		if err := a.forgetAnswers(w.Name, rules); err != nil {
			return "", err
		}
		if err := a.dropRule(w, "deny "+destination); err != nil {
			return "", err
		}
		if w, err = a.Workspace(w.Name); err != nil {
			return "", err
		}
		if err := a.addAllowed(w, destination); err != nil {
			return "", err
		}
	}
	if err := a.answered(w.Name, destination, map[bool]string{true: "once", false: "always"}[once]); err != nil {
		return "", err
	}
	return a.standsAgainst(w.Name, rules)
}

// standsAgainst says which rule or mode refuses a destination that was just allowed.
func (a *App) standsAgainst(workspace string, rules []netpolicy.Rule) (string, error) {
	w, err := a.Workspace(workspace)
	if err != nil {
		return "", err
	}
	if w.Network.Policy == "offline" {
		return "The workspace is offline, and stays so: CALMenu net policy allowlist", nil
	}
	if w.Proxy.Mode == "off" {
		return "The workspace has no network: CALMenu net mode auto", nil
	}
	p := a.compose(w, nil, time.Now())
	for _, r := range rules {
		host, port, ok := r.Example()
		if !ok {
			continue
		}
		switch d := p.Foresee(host, port); {
		case d.Allowed:
		case d.Origin == "": // no rule is against it, but where it leads
			return fmt.Sprintf("%s:%d %s. Allow that very address: CALMenu net allow 127.0.0.1:%[2]d", host, port, d.Reason), nil
		default:
			return fmt.Sprintf("It is still refused: %s:%d %s (%s).", host, port, d.Reason, d.Origin), nil
		}
	}
	return "", nil
}

func (a *App) forgetAnswers(name string, rules []netpolicy.Rule) error {
	return a.changeAnswers(name, func(all []netAnswer) []netAnswer {
		for _, r := range rules {
			all = withoutAnswers(all, r)
		}
		return all
	})
}

// DenyNetwork keeps a workspace's guest from a destination, by a rule before all others.
func (a *App) DenyNetwork(workspace, destination string) error {
	w, err := a.Workspace(workspace)
	if err != nil {
		return err
	}
	rules, err := netpolicy.ParseDestination(destination, "")
	if err != nil {
		return err
	}
	if err := a.forgetAnswers(w.Name, rules); err != nil {
		return err
	}
	entry := "deny " + destination
	if !slices.Contains(w.Network.Rules, entry) {
		if err := a.setList(w.Name, "network.rules", append([]string{entry}, w.Network.Rules...)); err != nil {
			return err
		}
	}
	if kept := without(w.Network.Allow, destination); len(kept) < len(w.Network.Allow) {
		if err := a.setList(w.Name, "network.allow", kept); err != nil {
			return err
		}
	}
	return a.answered(w.Name, destination, string(NetDeny))
}

// addAllowed adds a destination to a workspace's own allow list, which then holds what the general one does too.
func (a *App) addAllowed(w *config.Workspace, destination string) error {
	if slices.Contains(w.Network.Allow, destination) {
		return nil
	}
	return a.setList(w.Name, "network.allow", append(slices.Clone(w.Network.Allow), destination))
}

func (a *App) dropRule(w *config.Workspace, entry string) error {
	kept := without(w.Network.Rules, entry)
	if len(kept) == len(w.Network.Rules) {
		return nil
	}
	return a.setList(w.Name, "network.rules", kept)
}

func without(list []string, entry string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == entry })
}

// setList writes a list into a workspace's vm.yaml.
func (a *App) setList(workspace, key string, list []string) error {
	quoted, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	return a.Config().Set(a.Home.VMFile(workspace), key, string(quoted))
}
