//go:build !linux

// Command calseed gives a guest that was resumed from a template its identity and does nothing elsewhere; see
// main_linux.go.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "calseed runs only inside CALMenu's Linux guest")
	os.Exit(1)
}
