package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/calmenu/calmenu/internal/guest/standby"
)

func init() { verbs[standby.Verb] = wait }

// wait waits for another verb on standard input, which is that verb's from there on.
func wait(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return errors.New("takes no arguments: they come on standard input")
	}
	words, err := standby.Read(os.Stdin)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if words[0] == standby.Verb || verbs[words[0]] == nil {
		return fmt.Errorf("%q is nothing to become", words[0])
	}
	return verbs[words[0]](ctx, words[1:])
}
