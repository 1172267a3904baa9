// Package tart runs macOS guests by the tart command line (https://github.com/openai/tart, 2.31.0 or newer): argv in,
// JSON and files out. "Row N" and "section N" in its comments are those of the Tart contract that tartdouble plays.
//
// What must hold: a machine is found by Tart's own facts (its directory, the lock on its config.json), never by memory;
// nothing is deleted before its successor is in place, because Tart itself replaces and power-cuts without asking;
// every change of a workspace happens under that workspace's lock file, and what takes several steps is journaled
// first.
package tart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// DefaultImage is what machines are made from when a workspace names no image: it has the guest agent, and the account
// admin with the password admin.
const DefaultImage = "ghcr.io/cirruslabs/macos-sequoia-base:latest"

// Options say where Tart is and what it keeps where.
type Options struct {
	// Binary is the tart program; empty finds "tart" in PATH.
	Binary string
	// Home is TART_HOME, Tart's directory of machines and images; empty is the environment's, or ~/.tart.
	Home string
	// StateDir is a directory of CALMenu's own for locks, journals and the logs of running machines.
	StateDir string
	// CutNetwork starts machines with a network that carries nothing (softnet with everything blocked). They are then
	// reached through the guest agent alone.
	CutNetwork bool

	// LeaseFile is where the host's DHCP server for guests keeps its leases; empty is macOS's.
	LeaseFile string
	// Security is the program that knows keychains; empty is macOS's.
	Security string

	// HostOS and HostArch replace what this host is (runtime.GOOS, runtime.GOARCH), for tests.
	HostOS, HostArch string
	// HostVersion replaces the release of macOS, and FreeSpace the question how many bytes are free below a directory,
	// for tests.
	HostVersion string
	FreeSpace   func(dir string) (free uint64, known bool)
	// DialTCP replaces the dialling of a guest's address, for tests.
	DialTCP func(ctx context.Context, network, address string) (net.Conn, error)
	// Settle is how long a machine must hold its lock to count as started where its control socket does not show it; 0
	// is 5 s. Retry is how long to wait, the first of several times, for what an earlier run of it still holds; 0 is
	// 250 ms. AgentPatience is how long to wait for the guest agent alone before the guest's address is tried too; 0 is
	// 5 s. StopTimeout is how long `tart stop` waits before it kills; 0 is 10 s.
	Settle, Retry, AgentPatience, StopTimeout time.Duration
}

// Driver implements vm.Driver by the tart program.
type Driver struct {
	options Options
	home    string

	mu      sync.Mutex // guards version
	version string     // of the tart program, once known to be new enough

	at func(step string) // told before each step of a transaction; tests die there
}

var _ vm.Driver = (*Driver)(nil)

// New returns a driver. It starts nothing and needs no tart program yet: Requirements tells what is missing.
func New(o Options) (*Driver, error) {
	home := o.Home
	if home == "" {
		home = os.Getenv("TART_HOME")
	}
	if home == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("finding Tart's directory: %w", err)
		}
		home = filepath.Join(user, ".tart")
	}
	if err := checkHome(home); err != nil {
		return nil, err
	}
	if o.StateDir == "" {
		return nil, errors.New("making Tart driver: no state directory given")
	}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("making state directory: %w", err)
	}
	if o.Binary == "" {
		o.Binary = "tart"
	}
	if o.LeaseFile == "" {
		o.LeaseFile = leaseFile
	}
	if o.Security == "" {
		o.Security = "/usr/bin/security"
	}
	if o.HostOS == "" {
		o.HostOS, o.HostArch = runtime.GOOS, runtime.GOARCH
	}
	if o.HostVersion == "" {
		o.HostVersion = hostVersion()
	}
	if o.FreeSpace == nil {
		o.FreeSpace = freeSpace
	}
	if o.DialTCP == nil {
		o.DialTCP = new(net.Dialer).DialContext
	}
	o.Settle = orDefault(o.Settle, 5*time.Second)
	o.Retry = orDefault(o.Retry, 250*time.Millisecond)
	o.AgentPatience = orDefault(o.AgentPatience, 5*time.Second)
	o.StopTimeout = orDefault(o.StopTimeout, 10*time.Second)
	return &Driver{options: o, home: home, at: func(string) {}}, nil
}

// OnStep has f called before each step of a change: tests end it there, as a crash would.
func (d *Driver) OnStep(f func(step string)) { d.at = f }

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// checkHome refuses directories in which `tart exec` cannot find its control socket: Tart changes to the
// percent-encoded path and ignores that this fails (row 55).
func checkHome(home string) error {
	const what = "Set TART_HOME to an absolute path of plain letters, digits and ./_- (no spaces)."
	if !filepath.IsAbs(home) {
		return hint.Errorf(what, "using Tart's directory %q: it is not an absolute path", home)
	}
	for _, r := range home {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("./_-", r)
		if !plain {
			return hint.Errorf(what, "using Tart's directory %q: Tart cannot work with the character %q in it", home, r)
		}
	}
	return nil
}

// Info implements vm.Driver.
func (d *Driver) Info() vm.Info {
	return vm.Info{Name: "tart", Capabilities: vm.Capabilities{
		WarmSnapshot: true, Share: true, MaxRunning: 2, GuestOS: "darwin", User: "admin", Password: "admin",
	}}
}

// Names of Tart machines: a workspace's own, its snapshots', and those of copies not yet in place. Workspace names hold
// no underscore, so that no name of one workspace can be read as one of another.
const (
	prefix     = "cal-"
	snapMark   = "_snap_"
	tempMark   = "_tmp_"
	stampFile  = "cal-snapshot.json" // in a snapshot's directory: when it was taken
	maxCommand = 10 * time.Minute    // for a command that changes names or files only
)

func machineName(ws string) string      { return prefix + ws }
func snapshotName(ws, id string) string { return prefix + ws + snapMark + id }
func tempName(ws string) string         { return prefix + ws + tempMark + randomID() }

// parseName tells what a Tart machine is to CALMenu; ws is empty if it is none of its.
func parseName(name string) (ws, snapshot, temp string) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return "", "", ""
	}
	ws, tail, marked := strings.Cut(rest, "_")
	switch {
	case vm.ValidName(ws) != nil:
		return "", "", ""
	case !marked:
		return ws, "", ""
	}
	if id, ok := strings.CutPrefix("_"+tail, snapMark); ok && vm.ValidSnapshotID(id) == nil {
		return ws, id, ""
	}
	if id, ok := strings.CutPrefix("_"+tail, tempMark); ok && vm.ValidSnapshotID(id) == nil {
		return ws, "", id
	}
	return "", "", ""
}

// dir is the directory Tart keeps a machine in (section 2).
func (d *Driver) dir(name string) string { return filepath.Join(d.home, "vms", name) }

// state is a file of CALMenu's own about a workspace.
func (d *Driver) state(ws, suffix string) string { return filepath.Join(d.options.StateDir, ws+suffix) }

// lock keeps all other changes of a workspace out, in this and every other process.
func (d *Driver) lock(ctx context.Context, ws string) (unlock func(), err error) {
	if err := vm.ValidName(ws); err != nil {
		return nil, err
	}
	return lockFile(ctx, d.state(ws, ".lock"))
}

func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := flock.New(path)
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, fmt.Errorf("waiting for another operation on it: %w", err)
	}
	return func() { _ = l.Close() }, nil
}

// config is what is read of a machine's config.json (section 2).
type config struct {
	OS         string `json:"os"`
	CPUCount   int    `json:"cpuCount"`
	MemorySize int64  `json:"memorySize"`
	MACAddress string `json:"macAddress"`
}

func (d *Driver) config(name string) (config, error) {
	var c config
	data, err := readLimited(filepath.Join(d.dir(name), "config.json"), 1<<20)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("reading configuration of %s: %w", name, err)
	}
	if c.OS == "" {
		c.OS = "darwin"
	}
	return c, nil
}

// holder is the process that runs the machine, or 0 (section 3).
func (d *Driver) holder(name string) (int, error) {
	f, err := os.Open(filepath.Join(d.dir(name), "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the process of %s: %w", name, err)
	}
	defer f.Close()
	return lockHolder(f)
}
