package shell

import (
	"context"
	"os"

	"github.com/calmenu/calmenu/internal/host"
)

// KeepAwake has the computer not sleep because nobody is at it, until release is called. why is shown to people who ask.
func KeepAwake(ctx context.Context, why string) (release func(), err error) {
	return host.KeepAwake(ctx, os.Getenv, why)
}

// linux has no loop of its own: the tray is a D-Bus service, dialogs are processes that end with their context.
type linux struct{}

func newSystem() system { return linux{} }

func (linux) prepare(h hooks) error {
	h.ready()
	return nil
}

func (linux) release(done func()) { done() }
