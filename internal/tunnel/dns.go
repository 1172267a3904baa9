package tunnel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// MaxQuestion is the longest DNS message taken from a guest, in bytes.
	MaxQuestion = 4096
	answerTTL   = 30 // seconds the guest may keep an answer
	lookupTime  = 10 * time.Second
	maxLookups  = 64 // of one guest at once
	maxAddrs    = 16 // in one answer; they fit into the 512 bytes every client takes
	keepFound   = answerTTL * time.Second
	keepMissing = 5 * time.Second
	maxKept     = 1024 // lookups kept
)

// Answer answers a guest's question to the DNS, both in wire form (RFC 1035): the host's IPv4 addresses of a name that the
// policy lets it reach at some port. It remembers them, so that the guest dialling one is known to mean the name. Names
// that are not allowed do not exist (RFC 8914's "filtered"), and are not asked for. Questions for anything but IPv4
// addresses have empty answers: the guest has no other way out. What is no question has none (nil).
func (g *Gate) Answer(ctx context.Context, question []byte) []byte {
	if len(question) > MaxQuestion {
		return nil
	}
	var p dnsmessage.Parser
	head, err := p.Start(question)
	if err != nil || head.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return answerTo(head, nil, dnsmessage.RCodeFormatError, nil)
	}
	if head.OpCode != 0 || q.Class != dnsmessage.ClassINET {
		return answerTo(head, &q, dnsmessage.RCodeNotImplemented, nil)
	}
	host := strings.TrimSuffix(q.Name.String(), ".")
	if q.Type == dnsmessage.TypePTR {
		return answerTo(head, &q, dnsmessage.RCodeNameError, nil)
	}
	name, addr, err := canonical(host)
	if err != nil || addr.IsValid() {
		return answerTo(head, &q, dnsmessage.RCodeNameError, nil)
	}
	d := g.Policy().DecideLookup(name)
	if d.Ask && q.Type == dnsmessage.TypeA {
		// It is resolved when a person has allowed it, which they are asked when the guest dials what stands for it.
		return answerTo(head, &q, dnsmessage.RCodeSuccess, []netip.Addr{g.answered.stand(name, time.Now())})
	}
	if !d.Allowed && !d.Ask {
		g.log(Connection{Time: time.Now(), Way: WayDNS, Host: oneLine(host), Port: 53, Reason: oneLine(d.Reason)})
		return answerTo(head, &q, dnsmessage.RCodeNameError, nil)
	}
	if q.Type != dnsmessage.TypeA {
		return answerTo(head, &q, dnsmessage.RCodeSuccess, nil)
	}
	addrs, err := g.lookup(ctx, name)
	var missing *net.DNSError
	switch {
	case errors.As(err, &missing) && missing.IsNotFound:
		return answerTo(head, &q, dnsmessage.RCodeNameError, nil)
	case err != nil:
		return answerTo(head, &q, dnsmessage.RCodeServerFailure, nil)
	}
	return answerTo(head, &q, dnsmessage.RCodeSuccess, addrs)
}

// lookup resolves an allowed name for the guest, which will dial one of the addresses.
func (g *Gate) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := g.lookups.do(ctx, name, func(ctx context.Context) ([]netip.Addr, error) {
		return g.resolver().LookupNetIP(ctx, "ip4", name)
	})
	now := time.Now()
	if err == nil {
		g.answered.note(name, addrs, now)
		return addrs, nil
	}
	r := route{name: name, port: 443}
	if uerr := g.findUpstream(&r, WayDNS); uerr == nil && r.upstream != nil && ctx.Err() == nil {
		return []netip.Addr{g.answered.stand(name, now)}, nil
	}
	return nil, err
}

// answerTo builds an answer; it is never longer than 512 bytes.
func answerTo(head dnsmessage.Header, q *dnsmessage.Question, code dnsmessage.RCode, addrs []netip.Addr) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: head.ID, Response: true, OpCode: head.OpCode, RecursionDesired: head.RecursionDesired,
		RecursionAvailable: true, RCode: code,
	})
	b.EnableCompression()
	if q != nil {
		if b.StartQuestions() != nil || b.Question(*q) != nil || b.StartAnswers() != nil {
			return nil
		}
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: answerTTL}
		for _, a := range addrs {
			if b.AResource(h, dnsmessage.AResource{A: a.As4()}) != nil {
				return nil
			}
		}
	}
	message, err := b.Finish()
	if err != nil {
		return nil
	}
	return message
}

// lookups bounds what a guest's questions cost the host: how many are on their way at once, and the same one is asked
// once in a while. The zero value is ready.
type lookups struct {
	mu      sync.Mutex // guards both
	running int
	kept    map[string]*lookup
}

type lookup struct {
	done  chan struct{} // closed when addrs and err are there
	until time.Time     // written before done is closed
	addrs []netip.Addr
	err   error
}

var errManyLookups = errors.New("too many questions at once")

func (l *lookups) do(
	ctx context.Context, name string, resolve func(context.Context) ([]netip.Addr, error),
) ([]netip.Addr, error) {
	l.mu.Lock()
	one, ok := l.kept[name]
	if ok && one.over(time.Now()) {
		ok = false
	}
	if !ok {
		if l.running >= maxLookups {
			l.mu.Unlock()
			return nil, errManyLookups
		}
		if l.kept == nil || len(l.kept) >= maxKept {
			l.kept = map[string]*lookup{}
		}
		one = &lookup{done: make(chan struct{})}
		l.kept[name] = one
		l.running++
		go l.run(context.WithoutCancel(ctx), one, resolve)
	}
	l.mu.Unlock()
	select {
	case <-one.done:
		return one.addrs, one.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run does one lookup, for everybody who waits for it.
func (l *lookups) run(ctx context.Context, one *lookup, resolve func(context.Context) ([]netip.Addr, error)) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, err := resolve(ctx)
	for _, a := range found {
		if a = a.Unmap(); a.Is4() && len(one.addrs) < maxAddrs {
			one.addrs = append(one.addrs, a)
		}
	}
	one.err, one.until = err, time.Now().Add(keepFound)
	if err != nil {
		one.until = time.Now().Add(keepMissing)
	}
	l.mu.Lock()
	l.running--
	l.mu.Unlock()
	close(one.done)
}

func (l *lookup) over(now time.Time) bool {
	select {
	case <-l.done:
		return now.After(l.until)
	default:
		return false
	}
}
