//go:build unix

package catch

import (
	"context"
	"errors"
	"fmt"
)

// redirect has the kernel lead connections to this program, which leads them to the host.
type redirect struct {
	k     *keeper
	names *names
	held  *holder
}

// filter is what the kernel does with packets.
type filter interface {
	// lead has connections and questions for names led to this program, by these rules and no others from now on.
	lead(ctx context.Context, t target) error
	wants
	// clear has no more led there. Connections that exist are left alone.
	clear(ctx context.Context) error
	// close leaves everything as it was.
	close(ctx context.Context) error
}

func (k *keeper) startRedirect(ctx context.Context) (method, error) {
	n, err := newNames(k.out)
	if err != nil {
		return nil, fmt.Errorf("listening for questions for names: %w", err)
	}
	if k.filter == nil {
		if k.filter, err = openFilter(ctx); err != nil {
			return nil, errors.Join(err, n.conn.Close())
		}
	}
	held, err := newHolder(k, k.filter)
	if err != nil {
		return nil, errors.Join(err, n.conn.Close())
	}
	r := &redirect{k, n, held}
	go func() { _ = n.serve() }()
	go held.serve()
	if err = k.filter.lead(ctx, r.target()); err == nil {
		err = held.prove(ctx, nowhere)
	}
	if err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (*redirect) name() string                       { return Redirect }
func (r *redirect) answer(id uint32, message []byte) { r.names.answer(id, message) }

// target is the present one: without a line the SSH server serves the proxy's ports itself. Its caller holds the keeper's mu.
func (r *redirect) target() target {
	t := target{port: r.held.port(), names: r.names.port(), kept: networks()}
	if r.k.line != nil {
		t.proxy = r.k.options.Proxy
	}
	return t
}

// lead has the kernel know of another line, or of none. Its caller holds the keeper's mu.
func (r *redirect) lead() error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	return r.k.filter.lead(ctx, r.target())
}

func (r *redirect) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	if err := r.k.filter.clear(ctx); err != nil {
		r.k.log.add("redirecting no more: %v", err)
	}
	_ = r.names.conn.Close()
	_ = r.held.l.Close()
}
