package main

import (
	"context"
	"errors"
	"os"

	"github.com/calmenu/calmenu/internal/sync/outboxer"
)

// outbox looks after the guest's outbox for the host.
func outbox(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return errors.New("takes no arguments: the host says what it wants on standard input")
	}
	return outboxer.Serve(ctx, os.Stdin, os.Stdout)
}
