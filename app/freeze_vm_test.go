package app

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
)

// TestFreezeOfARealGuest freezes a real guest by CALMenu's program and by the guest's own tools: nothing is written meanwhile,
// and when what froze it is killed, it goes on by itself.
func TestFreezeOfARealGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Minute)
	defer cancel()
	g := insideReal(t, ctx)
	own := helperName(g.c)
	if own == "" {
		t.Fatal("this binary was built without the helper program")
	}
	for name, x := range map[string]struct{ helper, kill string }{
		"by CALMenu's program": {own, "sudo -n pkill -KILL -f 'calhelper-[0-9a-f]* freeze$'"},
		"by its own tools":     {"", "sudo -n pkill -KILL -f '^sh -c sync'"},
	} {
		t.Run(name, func(t *testing.T) {
			wrote := make(chan error, 1)
			write := func() {
				r, err := g.c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", "echo x >written"}})
				if err == nil && r.Exit != 0 {
					err = errors.New(string(r.Stderr))
				}
				wrote <- err
			}
			err := g.c.Freeze(ctx, x.helper, func() error {
				go write()
				g.run(ctx, "sleep 1")
				select {
				case err := <-wrote:
					t.Errorf("it wrote while it was frozen: %v", err)
					wrote <- err
				default:
				}
				return nil
			})
			if err != nil || <-wrote != nil {
				t.Errorf("freezing: %v", err)
			}
			err = g.c.Freeze(ctx, x.helper, func() error {
				go write()
				g.run(ctx, x.kill)
				return <-wrote
			})
			if !errors.Is(err, guest.ErrThawed) {
				t.Errorf("when it was killed: %v", err)
			}
		})
	}
}
