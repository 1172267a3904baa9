package main

import (
	"context"
	"errors"
	"fmt"
)

// userNetwork is a machine like the workspace's on QEMU's user-mode network as it is by default: what one has without a
// tunnel, and without anything being judged. It stops the workspace.
func (g *guestWays) userNetwork(ctx context.Context) (err error) {
	p, err := g.c.plainLike(ctx, workspace{g.c, fast})
	if err != nil {
		return err
	}
	p.open = true
	r, err := p.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.powerOff(ctx)) }()
	in := func(ctx context.Context, script string) (string, error) { return r.guest.output(ctx, script) }
	const past = "--noproxy '*'"
	var bulk, one []float64
	for range g.b.runs {
		s, err := fetch(ctx, in, g.outside, guestBulk, past)
		if err != nil {
			return err
		}
		ms, err := request(ctx, in, g.outside, past)
		if err != nil {
			return err
		}
		bulk, one = append(bulk, s), append(one, ms)
	}
	const peer = "plain user-mode network"
	v := median(g.bulk)
	g.b.add(Figure{
		Name: "guest, transparent (redirect), 100 MB", Value: v, Unit: "s", Note: fmt.Sprintf("%s MB/s", number(100/v)),
	}.against(peer, median(bulk)))
	g.b.add(Figure{Name: "guest, transparent (redirect), one small request", Value: median(g.one), Unit: "ms"}.
		against(peer, median(one)))
	return nil
}
