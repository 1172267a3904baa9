package tunnel

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// answerLife is how long an address stands for a name after it was the answer to it. The guest is told a far shorter
	// time, but programs that looked once dial for hours.
	answerLife = 12 * time.Hour
	maxAnswers = 4096 // addresses remembered
	maxNames   = 16   // names remembered of one address
)

// standIns are addresses (RFC 2544) handed out for names that only the host's proxy can resolve.
var standIns = netip.MustParsePrefix("198.18.0.0/15")

// answered remembers which names a guest's questions were answered with which addresses. The zero value is ready.
type answered struct {
	mu      sync.Mutex // guards all below
	byAddr  map[netip.Addr][]answeredName
	standIn map[string]netip.Addr
	next    netip.Addr // stand-in
}

type answeredName struct {
	name string
	at   time.Time
}

// note remembers that a name was answered with addresses.
func (a *answered) note(name string, addrs []netip.Addr, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, addr := range addrs {
		a.noteOne(name, addr.Unmap(), now)
	}
}

func (a *answered) noteOne(name string, addr netip.Addr, now time.Time) {
	if a.byAddr == nil {
		a.byAddr = map[netip.Addr][]answeredName{}
	}
	names := slices.DeleteFunc(a.byAddr[addr], func(n answeredName) bool {
		return n.name == name || now.Sub(n.at) > answerLife
	})
	// The latest first: of names that share an address it is the likeliest.
	names = slices.Insert(names, 0, answeredName{name, now})
	if len(names) > maxNames {
		names = names[:maxNames]
	}
	a.byAddr[addr] = names
	if len(a.byAddr) > maxAnswers {
		a.forget(addr)
	}
}

// forget drops the eighth of the addresses that have not been an answer for the longest time.
func (a *answered) forget(except netip.Addr) {
	byAge := slices.SortedFunc(maps.Keys(a.byAddr), func(x, y netip.Addr) int {
		return a.byAddr[x][0].at.Compare(a.byAddr[y][0].at)
	})
	for _, addr := range byAge[:len(byAge)/8] {
		if addr == except {
			continue
		}
		if name := a.byAddr[addr][0].name; a.standIn[name] == addr {
			delete(a.standIn, name)
		}
		delete(a.byAddr, addr)
	}
}

// names are the names an address was the answer to, the latest first, and whether the address is a stand-in.
func (a *answered) names(addr netip.Addr) (names []string, standIn bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for _, n := range a.byAddr[addr.Unmap()] {
		if now.Sub(n.at) <= answerLife {
			names = append(names, n.name)
			standIn = standIn || a.standIn[n.name] == addr
		}
	}
	return names, standIn
}

// stand returns the address that stands for a name only the host's proxy can resolve.
func (a *answered) stand(name string, now time.Time) netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	addr, ok := a.standIn[name]
	if !ok {
		if a.next = a.next.Next(); !standIns.Contains(a.next) {
			a.next = standIns.Addr().Next()
		}
		addr = a.next
		if a.standIn == nil {
			a.standIn = map[string]netip.Addr{}
		}
		for _, n := range a.byAddr[addr] {
			delete(a.standIn, n.name)
		}
		delete(a.byAddr, addr)
		a.standIn[name] = addr
	}
	a.noteOne(name, addr, now)
	return addr
}
