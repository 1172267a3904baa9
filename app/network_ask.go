package app

import (
	"context"
	"sync"
	"time"

	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/netpolicy"
)

// NetAskTime is how long a connection waits for a person.
const NetAskTime = time.Minute

const (
	askEvery   = 200 * time.Millisecond
	asksAtOnce = 8  // destinations asked about at once
	asksInTime = 20 // and within askWindow
	askWindow  = 10 * time.Minute
)

// asks are the questions a guest's connections wait for, and those that were put lately.
type asks struct {
	mu      sync.Mutex // guards all below
	pending map[string]*pendingAsk
	put     []time.Time
}

// pendingAsk is one question; connections to the same destination share it.
type pendingAsk struct {
	id      string
	waiting int
	until   time.Time
}

// How a question ended.
const (
	NetNobody  NetAnswer = "nobody" // has given an answer in time
	NetAllowed NetAnswer = "allowed"
	NetRefused NetAnswer = "refused"
)

// ask puts a question about a destination to people, by the journal: the menu bar asks, and so can anybody at a command
// line. It returns when the policy has an answer, or there is none in time. A guest cannot have more asked than a person
// could read.
func (n *network) ask(ctx context.Context, host string, port int) {
	name, addr, err := netpolicy.Canonical(host)
	if err != nil || n.reach.tested(host, port) {
		return
	}
	if addr.IsValid() {
		name = addr.String()
	}
	destination := netpolicy.HostPort(name, port)
	q, begun, ok := n.asks.begin(destination, time.Now())
	if !ok {
		n.Log.Info().Str("workspace", n.name).Msg("more questions about the network than a person would answer; refused")
		return
	}
	if begun {
		n.tell(journal.NetAsked, q, destination, "")
	}
	defer func() {
		if !n.asks.end(destination, q) {
			return
		}
		answer := NetRefused
		switch d := n.policy().DecideName(host, port); {
		case d.Ask:
			answer = NetNobody
		case d.Allowed:
			answer = NetAllowed
		}
		n.tell(journal.NetAnswered, q, destination, string(answer))
	}()
	late := time.NewTimer(time.Until(q.until))
	defer late.Stop()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for n.policy().DecideName(host, port).Ask {
		select {
		case <-tick.C:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (n *network) tell(kind journal.Kind, q *pendingAsk, destination, detail string) {
	err := n.Journal.Append(journal.Event{Kind: kind, Workspace: n.name, Op: q.id, Path: destination, Detail: detail})
	if err != nil {
		n.Log.Warn().Str("workspace", n.name).Err(err).Msg("journaling a question about the network")
	}
}

// begin joins the question about a destination, or puts one if that is not too many.
func (a *asks) begin(destination string, now time.Time) (q *pendingAsk, begun, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q := a.pending[destination]; q != nil {
		q.waiting++
		return q, false, true
	}
	for len(a.put) > 0 && now.Sub(a.put[0]) >= askWindow {
		a.put = a.put[1:]
	}
	if len(a.pending) >= asksAtOnce || len(a.put) >= asksInTime {
		return nil, false, false
	}
	a.put = append(a.put, now)
	if a.pending == nil {
		a.pending = map[string]*pendingAsk{}
	}
	q = &pendingAsk{id: journal.NewID(), waiting: 1, until: now.Add(NetAskTime)}
	a.pending[destination] = q
	return q, true, true
}

// end leaves a question, and tells whether nobody waits for it any more.
func (a *asks) end(destination string, q *pendingAsk) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.waiting--; q.waiting > 0 {
		return false
	}
	delete(a.pending, destination)
	return true
}
