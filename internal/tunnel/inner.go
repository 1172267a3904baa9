package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/calmenu/calmenu/internal/netpolicy"
)

// insideError says that what a guest sends over a connection is for another name than the one it was allowed for.
type insideError struct{ error }

// inspected is the far side of a connection whose bytes are looked at on their way there.
type inspected struct {
	net.Conn   // as an interface: a TCP connection's ReadFrom would be a way past Write
	inspection *inspection
	near       Stream // told of a refusal in its own language; nil tells nobody
	begun, tls bool
}

func (c *inspected) Write(p []byte) (int, error) {
	if !c.begun && len(p) > 0 {
		c.begun, c.tls = true, p[0] == recordHandshake
	}
	if err := c.inspection.check(p); err != nil {
		c.tell(err)
		return 0, insideError{err}
	}
	return c.Conn.Write(p)
}

// deniedAlert is TLS' fatal alert "access denied" (RFC 8446, 6).
var deniedAlert = []byte{21, 3, 3, 0, 2, 2, 49}

// tellTime is how long a guest has to take a refusal.
const tellTime = 5 * time.Second

func (c *inspected) tell(why error) {
	if c.near == nil {
		return
	}
	late := time.AfterFunc(tellTime, func() { _ = c.near.Close() })
	defer late.Stop()
	if c.tls {
		_, _ = c.near.Write(deniedAlert)
		return
	}
	body := "CALMenu: the connection " + oneLine(why.Error()) + "\n"
	_, _ = fmt.Fprintf(c.near, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Connection: close\r\n\r\n%s", len(body), body)
}

// CloseWrite passes on the end of what the guest sends.
func (c *inspected) CloseWrite() error {
	if !closeWrite(c.Conn) {
		return errors.ErrUnsupported
	}
	return nil
}

// inspect has a connection that was opened for a route looked into.
func (g *Gate) inspect(far net.Conn, r *route) *inspected {
	policy := g.Policy()
	j := judgeInner{hidden: policy.LetsHide(), name: func(inner string) error { return g.judgeInner(r, inner) }}
	if _, addr, err := canonical(r.name); err == nil && addr.IsValid() {
		j.hidden = true // it was allowed as an address, whatever name it has
	}
	return &inspected{Conn: far, inspection: newInspection(j)}
}

// judgeInner judges a name found inside a connection. Another one than the connection was opened for is as good if the
// guest may reach it at that address.
func (g *Gate) judgeInner(r *route, inner string) error {
	name, _, err := canonical(inner)
	if err != nil {
		return errors.New("is no name")
	}
	if name == r.name {
		return nil
	}
	policy := g.Policy()
	_, addr, _ := canonical(r.name)
	d := policy.DecideName(inner, r.port)
	switch {
	case addr.IsValid():
		// By an address: what is inside is for nobody to say, unless a rule forbids that name.
		if d.Allowed || d.Ask || d.Rule == "" {
			return nil
		}
	case d.Allowed && r.decision.Addr.IsValid():
		d = policy.Decide(inner, r.port, []netip.Addr{r.decision.Addr}, r.own)
	}
	if d.Allowed {
		return nil
	}
	return errors.New(d.Reason)
}

// consult has a person asked about a destination the policy leaves to one, and waits for the answer. What came of it is
// in the policy.
func (g *Gate) consult(ctx context.Context, d Destination) {
	if g.Ask == nil {
		return
	}
	host := d.Host
	if _, addr, err := canonical(host); err == nil && addr.IsValid() {
		names, _ := g.answered.names(addr)
		reach, _ := netpolicy.Judge(addr, g.own())
		switch {
		case d.Way.caught() && len(names) > 0:
			host = names[0]
		case reach != netpolicy.Public:
			return
		}
	}
	if g.Policy().DecideName(host, d.Port).Ask {
		g.Ask(ctx, host, d.Port)
	}
}

// sniffTime is how long a guest that dialled an address nobody gave it has to say which name it means.
const sniffTime = 5 * time.Second

// sniffed finds out by its first bytes which name a guest means by an address that was no answer to it and that no rule is
// for; the stream then has them still. Everything else is left as it is.
func (g *Gate) sniffed(d Destination, near Stream) (Destination, Stream) {
	_, addr, err := canonical(d.Host)
	if err != nil || !addr.IsValid() || !d.Way.caught() {
		return d, near
	}
	policy := g.Policy()
	if names, _ := g.answered.names(addr); len(names) > 0 || policy.Mode == netpolicy.Offline ||
		policy.DecideName(d.Host, d.Port).Allowed {
		return d, near
	}
	late := time.AfterFunc(sniffTime, func() { _ = near.Close() })
	defer late.Stop()
	found := ""
	i := newInspection(judgeInner{hidden: true, name: func(name string) error {
		found = name
		return errFound
	}})
	defer i.end()
	var seen []byte
	buf := make([]byte, 4<<10)
	for found == "" && !i.over() && len(seen) < maxHello {
		n, err := near.Read(buf)
		seen = append(seen, buf[:n]...)
		if n > 0 && i.check(buf[:n]) != nil || err != nil {
			break
		}
	}
	if name, _, err := canonical(found); err == nil && name != "" {
		d.Host = name
	}
	return d, &replayed{near, seen}
}

var errFound = errors.New("found")
