// CALMenu runs AI coding agents with full permissions inside isolated virtual machines: the menu-bar agent without a verb,
// the same by command line with one.
package main

import (
	"os"
	"runtime"

	"github.com/calmenu/calmenu/app/cli"
)

func init() {
	// AppKit wants the process's first thread, which is the one main runs on.
	runtime.LockOSThread()
}

func main() {
	again()
	os.Exit(cli.Main(os.Args[1:]))
}
