// Package pac evaluates proxy auto-configuration: a script, often from somebody's web server, that says which proxy to use
// for a URL.
//
// What must hold: a script can compute and look up names, nothing else; it is ended when it takes too long; what it answers
// is read strictly.
package pac

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dop251/goja"
)

// Bounds of a script.
const (
	MaxScript = 1 << 20 // bytes
	evalTime  = 3 * time.Second
	lookTime  = 2 * time.Second // for one name it looks up
	maxStack  = 512
	maxAnswer = 4096
)

// Script is a script that was read. Its methods may be called from several goroutines; one runs at a time.
type Script struct {
	// Resolver looks names up for the script; nil is the host's.
	Resolver interface {
		LookupIP(ctx context.Context, network, host string) ([]net.IP, error)
	}
	// Now is the time for the script; nil is time.Now.
	Now func() time.Time

	limit time.Duration // for tests; 0 is evalTime

	mu      sync.Mutex // guards runtime
	program *goja.Program
	find    goja.Callable
	runtime *goja.Runtime
}

// Parse reads a script.
func Parse(text string) (*Script, error) {
	if len(text) > MaxScript {
		return nil, fmt.Errorf("reading the PAC script: it is longer than %d bytes", MaxScript)
	}
	program, err := goja.Compile("proxy.pac", text, false)
	if err != nil {
		return nil, fmt.Errorf("reading the PAC script: %w", err)
	}
	return &Script{program: program}, nil
}

// Find asks the script for the proxies of a URL, in order of preference; nil among them means none.
func (s *Script) Find(u *url.URL) ([]*url.URL, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, err := s.run(u)
	if err != nil {
		// What a script has left behind is not gone on with.
		s.runtime, s.find = nil, nil
		return nil, fmt.Errorf("asking the PAC script: %w", err)
	}
	return readAnswer(answer)
}

func (s *Script) run(u *url.URL) (answer string, err error) {
	if s.runtime == nil {
		s.runtime = goja.New()
		s.runtime.SetMaxCallStackSize(maxStack)
		s.define(s.runtime)
	}
	rt := s.runtime
	limit := s.limit
	if limit == 0 {
		limit = evalTime
	}
	late := time.AfterFunc(limit, func() { rt.Interrupt(errors.New("it takes too long")) })
	defer func() {
		late.Stop()
		rt.ClearInterrupt()
	}()
	if s.find == nil {
		if _, err := rt.RunProgram(s.program); err != nil {
			return "", err
		}
		find, ok := goja.AssertFunction(rt.Get("FindProxyForURL"))
		if !ok {
			return "", errors.New("it has no function FindProxyForURL")
		}
		s.find = find
	}
	// Only scheme and host, as browsers tell of https.
	v, err := s.find(goja.Undefined(), rt.ToValue(u.Scheme+"://"+u.Host+"/"), rt.ToValue(u.Hostname()))
	if err != nil {
		return "", err
	}
	if goja.IsNull(v) || goja.IsUndefined(v) {
		return "DIRECT", nil
	}
	if _, ok := v.Export().(string); !ok {
		return "", errors.New("its answer is no text")
	}
	return v.String(), nil
}

// kinds are the words of an answer, and the proxies they mean.
var kinds = map[string]string{"PROXY": "http", "HTTP": "http", "HTTPS": "https", "SOCKS": "socks5", "SOCKS5": "socks5"}

func readAnswer(text string) ([]*url.URL, error) {
	if len(text) > maxAnswer {
		return nil, errors.New("reading the PAC script's answer: it is too long")
	}
	var list []*url.URL
	for part := range strings.SplitSeq(text, ";") {
		fields := strings.Fields(part)
		switch {
		case len(fields) == 0:
			continue
		case len(fields) == 1 && strings.EqualFold(fields[0], "DIRECT"):
			list = append(list, nil)
			continue
		case len(fields) != 2 || kinds[strings.ToUpper(fields[0])] == "":
			return nil, fmt.Errorf("reading the PAC script's answer: %.60q is not understood", part)
		}
		u, err := url.Parse(kinds[strings.ToUpper(fields[0])] + "://" + fields[1])
		if err != nil || u.Hostname() == "" || u.Path != "" || u.User != nil {
			return nil, fmt.Errorf("reading the PAC script's answer: %.60q is no proxy", fields[1])
		}
		list = append(list, u)
	}
	if len(list) == 0 {
		list = append(list, nil)
	}
	return list, nil
}
