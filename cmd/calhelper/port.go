package main

import (
	"context"
	"errors"

	"github.com/calmenu/calmenu/internal/guest/serial"
)

// port NAME makes a serial port the user's who has called sudo.
func port(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("wants the name of a port")
	}
	return serial.Allow(ctx, args[0])
}
