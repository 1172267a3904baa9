//go:build !linux

package qemu

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/calmenu/calmenu/internal/vm"
)

// The driver finds its machines in Linux's /proc; elsewhere another driver is used.
var errNoProc = fmt.Errorf("finding a machine's process on this system: %w", vm.ErrUnsupported)

func socketAddress(dir *os.File, name string) string { return filepath.Join(dir.Name(), name) }
func peerProcess(*net.UnixConn) (int, error)         { return 0, errNoProc }
func processFacts(int) (process, error)              { return process{}, errNoProc }
func processAt(string) (process, error)              { return process{}, errNoProc }
func dieWithParent(*syscall.SysProcAttr)             {}
func processRuns(int) bool                           { return false }
func listeners(int) ([]string, error)                { return nil, errNoProc }
func effectiveUID(int) (int, error)                  { return 0, errNoProc }

func openGuestRAM(int, int64) (*os.File, error)                     { return nil, errNoProc }
func nextData(*os.File, int64, int64) (start, end int64, err error) { return 0, 0, errNoProc }
func punchHole(*os.File, int64, int64) error                        { return errNoProc }
func bootID() string                                                { return "" }
func hostCPU() string                                               { return "" }
