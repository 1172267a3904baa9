package catch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/calmenu/calmenu/internal/tunnel/direct"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

// maxStrangers is how many connections at once are found out not to be the host's.
const maxStrangers = 16

// useDirect waits for the host on a port, tells it which, and uses the line it makes.
func (k *keeper) useDirect(f wire.Frame) {
	id, peer, l, err := listenDirect(f.Payload)
	var place []byte
	if err == nil {
		pin := id.Pin()
		place, err = json.Marshal(wire.Place{Port: uint16(l.Addr().(*net.TCPAddr).Port), Pin: pin[:]})
	}
	// Without a place the host need not wait.
	if serr := k.out.Send(wire.Frame{Kind: wire.Reply, ID: f.ID, Payload: place}); serr != nil {
		k.end(serr)
	}
	k.useLine(wire.OverDirect, func(ctx context.Context) (*mux.Session, error) {
		if err != nil {
			return nil, err
		}
		conn, err := acceptDirect(ctx, l, id, peer)
		if err != nil {
			return nil, err
		}
		return mux.Client(conn, bufio.NewReader(conn), mux.Network, MaxStreams), nil
	})
}

// listenDirect listens on any address: which one the host comes to is its affair, and nobody but the host is served.
func listenDirect(offer []byte) (*direct.Identity, direct.Pin, net.Listener, error) {
	var o wire.Offer
	var peer direct.Pin
	if err := json.Unmarshal(offer, &o); err != nil || copy(peer[:], o.Pin) != len(peer) {
		return nil, peer, nil, fmt.Errorf("%w: what the host says of itself", wire.ErrFrame)
	}
	id, err := direct.NewIdentity()
	if err != nil {
		return nil, peer, nil, err
	}
	l, err := net.Listen("tcp4", ":0")
	return id, peer, l, err
}

// acceptDirect returns the connection of the host, the first to prove that it is that. Nobody is listened to after it.
func acceptDirect(ctx context.Context, l net.Listener, id *direct.Identity, peer direct.Pin) (*direct.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() { _ = l.Close() }()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	met := make(chan *direct.Conn)
	over := make(chan error, 1)
	go func() {
		places := make(chan struct{}, maxStrangers)
		for {
			raw, err := l.Accept()
			if err != nil {
				over <- err
				return
			}
			select {
			case places <- struct{}{}:
			default:
				_ = raw.Close()
				continue
			}
			go func() {
				defer func() { <-places }()
				conn, err := id.Accept(ctx, raw, peer)
				if err != nil {
					return
				}
				select {
				case met <- conn:
				case <-ctx.Done():
					_ = conn.Close()
				}
			}()
		}
	}()
	select {
	case conn := <-met:
		return conn, nil
	case err := <-over:
		if ctx.Err() != nil {
			err = errors.New("the host did not come")
		}
		return nil, err
	}
}
