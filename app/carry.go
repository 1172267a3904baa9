package app

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/helper"
	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/carrier"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
	"github.com/calmenu/calmenu/internal/vm"
)

// guestProxy is where programs in the guest that know of proxies find their way out, on its own loopback.
const guestProxy = "127.0.0.1:3128"

// transparentEvery is how soon a changed network.transparent is in force.
const transparentEvery = 2 * time.Second

// bulkLink keeps a second connection into a guest, so that a download holds up neither what is checked nor the outbox.
func (a *App) bulkLink(name string, o guest.Options) *guest.Link {
	o.Bulk = true
	return guest.NewLink(o, func(up bool, err error) {
		a.Log.Info().Str("workspace", name).Bool("up", up).AnErr("cause", err).Msg("guest's network")
	})
}

// carry leads the guest's connections to a gate, over one bulk connection after the other, until ctx ends.
func (k *keeper) carry(ctx context.Context, gate *tunnel.Gate) error {
	r := &carrier.Carrier{
		Gate:   gate,
		Ensure: func(ctx context.Context, c *guest.Client) (string, error) { return helper.Ensure(ctx, c) },
		OnReport: func(p wire.Report) {
			k.settled()
			k.Log.Info().Str("workspace", k.w.Name).Str("way", p.Way).Str("line", string(p.Line)).Bool("stopped", p.Stopped).
				Str("problem", p.Problem).Msg("transparent network")
		},
		Problem: func(err error) { k.Log.Warn().Str("workspace", k.w.Name).Err(err).Msg("carrying the guest's network") },
	}
	if d, ok := k.Driver.(vm.SerialDialer); ok {
		r.Port = func(ctx context.Context) (net.Conn, error) { return d.DialSerial(ctx, k.w.Name, vm.NetworkPort) }
	}
	if d, ok := k.Driver.(vm.PortDialer); ok {
		r.DialPort = func(ctx context.Context, port uint16) (net.Conn, error) { return d.DialPort(ctx, k.w.Name, port) }
	}
	r.SetMethod(k.w.Network.Transparent)
	go k.followMethod(ctx, r)
	for {
		c, err := k.bulk.Client(ctx)
		if err != nil {
			return fmt.Errorf("carrying the guest's network: %w", err)
		}
		if err := r.Serve(ctx, c); ctx.Err() != nil {
			return err
		}
	}
}

// followMethod has a change of the configuration in force at once.
func (k *keeper) followMethod(ctx context.Context, r *carrier.Carrier) {
	t := time.NewTicker(transparentEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if w, err := k.Workspace(k.w.Name); err == nil { // what cannot be read is told elsewhere
			r.SetMethod(w.Network.Transparent)
		}
	}
}
