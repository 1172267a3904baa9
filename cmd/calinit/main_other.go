//go:build !linux

// Command calinit is the first program of CALMenu's Linux guest and does nothing elsewhere; see main_linux.go.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "calinit runs only inside CALMenu's Linux guest")
	os.Exit(1)
}
