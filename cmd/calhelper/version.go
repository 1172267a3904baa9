package main

import (
	"context"
	"fmt"
	"runtime"
)

// version prints what the program was built for: a guest that can run it prints its own system.
func version(context.Context, []string) error {
	_, err := fmt.Printf("calhelper %s/%s\n", runtime.GOOS, runtime.GOARCH)
	return err
}
