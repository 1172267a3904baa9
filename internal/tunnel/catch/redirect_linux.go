package catch

import (
	"context"
	"fmt"
	"net/netip"
)

// redirect has the kernel lead connections to the guest's SSH server, or to a line past that.
type redirect struct {
	names   *names
	origins *origins
}

func (k *keeper) startRedirect(ctx context.Context) (method, error) {
	n, err := newNames(k.out)
	if err != nil {
		return nil, fmt.Errorf("listening for questions for names: %w", err)
	}
	o, err := newOrigins(k.options.Port)
	if err == nil {
		if err = install(ctx, rules(k.target(), n.port(), networks())); err != nil {
			o.close()
		}
	}
	if err != nil {
		_ = n.conn.Close()
		return nil, err
	}
	go func() { _ = n.serve() }()
	return &redirect{n, o}, nil
}

func (*redirect) name() string                                { return Redirect }
func (r *redirect) answer(id uint32, message []byte)          { r.names.answer(id, message) }
func (r *redirect) origin(from netip.AddrPort) netip.AddrPort { return r.origins.of(from) }

// lead leads connections elsewhere, from now on.
func (r *redirect) lead(t target) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	return install(ctx, rules(t, r.names.port(), networks()))
}

func (r *redirect) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	_ = uninstall(ctx)
	_ = r.names.conn.Close()
	r.origins.close()
}
