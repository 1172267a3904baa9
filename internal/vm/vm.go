// Package vm is the contract between CALMenu and the programs that run virtual machines: small composed interfaces, and
// capabilities as data, so that nothing outside a driver asks for a driver by name.
//
// What must hold in every driver: a VM belongs to no process of CALMenu and is found again by facts (a lock, a socket, a
// process), never by memory; no call ever destroys the only copy of a disk; every call is safe to make from several
// processes at once and ends when its context does.
package vm

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
)

// Errors callers decide on. Drivers wrap them; test with errors.Is.
var (
	ErrNotFound    = errors.New("no such virtual machine")
	ErrExists      = errors.New("virtual machine exists already")
	ErrRunning     = errors.New("virtual machine is running")
	ErrNotRunning  = errors.New("virtual machine is not running")
	ErrLimit       = errors.New("too many virtual machines are running")
	ErrNoSpace     = errors.New("not enough free disk space")
	ErrNoSnapshot  = errors.New("no such snapshot")
	ErrUnsupported = errors.New("not supported by this driver")
	ErrBusy        = errors.New("in use by another process")
	ErrNoMemory    = errors.New("its memory cannot be saved")
	ErrNoImage     = errors.New("base image is not there")
)

// Driver runs virtual machines. internal/vm/vmtest.Conformance says, as tests, what each call must do.
type Driver interface {
	Info() Info
	// Requirements lists what the host needs for this driver, each with its present state: what `CALMenu doctor` shows.
	Requirements(ctx context.Context) []Requirement
	Images
	Lifecycle
	Snapshotter
	Dialer
	Inspector
}

// Info describes a driver. It never changes while the process lives.
type Info struct {
	Name         string // "qemu", "tart", "memory"
	Capabilities Capabilities
}

// Capabilities is what callers branch on instead of a driver's name.
type Capabilities struct {
	// LiveSnapshot: CreateSnapshot works on a running VM (inside the caller's freeze). Otherwise it must be stopped first.
	LiveSnapshot bool
	// WarmSnapshot: machines can be suspended and snapshots can hold memory, so that a rollback resumes what ran. Whether
	// it works for one machine now is Machine.Warm.
	WarmSnapshot bool
	// LiveWarmSnapshot: CreateSnapshot with SnapshotOptions.Memory works on a running VM, which goes on after a pause.
	// Otherwise it is suspended first and resumed afterwards.
	LiveWarmSnapshot bool
	// SeedFiles: StartOptions.Files are put into the guest before its first instruction of user space, at every start. It
	// is what pins the SSH host key before first boot. Otherwise the guest is provisioned over its first connection.
	SeedFiles bool
	// Share: one host folder can be shared into the guest (StartOptions.Outbox).
	Share bool
	// Emulated: the guest's CPU is emulated in software (no AES instructions: prefer ChaCha20; wait longer).
	Emulated bool
	// MaxRunning is how many VMs the platform lets run at once; 0 is no limit.
	MaxRunning int
	// GuestOS is "linux" or "darwin".
	GuestOS string
	// User is the account the guest is used as; Password the image's stock password, empty if it has none.
	User, Password string
}

// Images makes base images ready.
type Images interface {
	// DefaultImage names the image used when a workspace names none.
	DefaultImage() string
	// EnsureImage builds or downloads an image unless it is there. Concurrent calls from several processes do the work once.
	EnsureImage(ctx context.Context, image string, p Progress) error
	// ImageReady tells whether EnsureImage would have nothing to do.
	ImageReady(ctx context.Context, image string) (bool, error)
}

// Lifecycle creates, starts and stops machines. Names are workspace names (ValidName); a driver may prefix them.
type Lifecycle interface {
	// Create makes a stopped machine from a ready image. ErrExists if the name is taken, ErrNoImage if EnsureImage was
	// not called. A crash or error on the way leaves nothing behind that Machines lists.
	Create(ctx context.Context, s Spec, p Progress) error
	// Start boots a stopped machine, or resumes a suspended one, and returns once its process runs; the guest may need
	// seconds more. ErrRunning if it runs. Memory that cannot be resumed (it was saved by another version of the
	// hypervisor, or did not reach the disk before the host crashed) is given up for a boot, and p is told so.
	// Machine.Resumed tells which it was. The machine survives the death of the calling process, and Ctrl-C in its
	// terminal.
	Start(ctx context.Context, name string, o StartOptions, p Progress) error
	// Stop asks the guest to shut down by calling how.Guest, waits up to how.Grace for the machine to end, then powers it
	// off. ErrNotRunning if it does not run. It returns when the machine has ended.
	Stop(ctx context.Context, name string, how Shutdown) error
	// Suspend saves a running machine's memory and ends it: it is then Machine.Suspended, and Start goes on from there. It
	// returns when the machine has ended. ErrNotRunning if it does not run; ErrNoMemory, with the reason, if its memory
	// cannot be saved, in which case it runs on.
	Suspend(ctx context.Context, name string, p Progress) error
	// Delete removes a stopped machine with all its snapshots. ErrRunning if it runs.
	Delete(ctx context.Context, name string) error
	// Machine returns the facts about one machine, or ErrNotFound.
	Machine(ctx context.Context, name string) (Machine, error)
	// Machines lists all machines of this CAL_HOME, by name.
	Machines(ctx context.Context) ([]Machine, error)
	// Resize changes the processors and memory of a stopped machine from its next start on; 0 leaves a value.
	Resize(ctx context.Context, name string, cpu, memoryMiB int) error
}

// Snapshotter keeps points a machine can be rolled back to. Identifiers are the caller's (ValidSnapshotID); names for
// people are kept elsewhere. Every call is a transaction: after a crash at any instant, Recover leaves the old or the
// new state, and no content is lost.
type Snapshotter interface {
	// CreateSnapshot records the machine's disk under id, and its memory where o asks for it or the machine is suspended.
	// A running machine needs LiveSnapshot for its disk, LiveWarmSnapshot for its memory too; otherwise it is ErrRunning.
	// ErrNoMemory, with the reason, if the memory that was asked for cannot be saved.
	CreateSnapshot(ctx context.Context, name, id string, o SnapshotOptions) error
	// Snapshots lists a machine's snapshots, oldest first.
	Snapshots(ctx context.Context, name string) ([]Snapshot, error)
	// Restore makes the stopped or suspended machine's disk, and memory if there is some, those of snapshot id; what they
	// were before is kept as snapshot undo. A snapshot with memory leaves the machine suspended.
	Restore(ctx context.Context, name, id, undo string) error
	// DeleteSnapshot forgets a snapshot and frees what only it held.
	DeleteSnapshot(ctx context.Context, name, id string) error
	// Recover finishes or undoes what a crash left. It is idempotent and cheap when there is nothing to do.
	Recover(ctx context.Context, name string) error
}

// SnapshotOptions say how a snapshot is taken.
type SnapshotOptions struct {
	// Memory asks for the running machine's memory too, so that what runs in it goes on after a rollback.
	Memory bool
	// Freeze is called around the instant of a running machine's snapshot with a function it must call exactly once. For
	// a snapshot of the disk alone the guest's file systems must be frozen meanwhile; with Memory they must not be, but
	// should have been written out, so that the disk is of use without the memory. nil calls nothing.
	Freeze Freezer
}

// Freezer runs do while the guest's file systems are as a snapshot needs them, and returns do's error or its own.
type Freezer func(ctx context.Context, do func() error) error

// Dialer reaches the guest's SSH server.
type Dialer interface {
	// DialSSH opens a byte stream to the guest's SSH server. ErrNotRunning if the machine does not run; other errors are
	// worth another try while the guest boots.
	DialSSH(ctx context.Context, name string) (net.Conn, error)
}

// PortDialer is implemented by drivers that reach a TCP port of the guest as they reach its SSH server.
type PortDialer interface {
	// DialPort opens a byte stream to a server on a port of the guest that speaks first, as an SSH server does. Errors are
	// DialSSH's. Whoever in the guest listens on that port is who answers.
	DialPort(ctx context.Context, name string, port uint16) (net.Conn, error)
}

// Execer is implemented by drivers that can run a command in the guest over a channel of their own, which needs neither
// network nor SSH. It is how a guest is met that no key could be put into.
type Execer interface {
	// Exec runs argv as the guest's user and returns what it printed (at most 1 MiB) and its exit code. ErrNotRunning if
	// the machine does not run; other errors are worth another try while the guest boots.
	Exec(ctx context.Context, name string, argv []string, stdin io.Reader) (stdout []byte, exit int, err error)
}

// SerialDialer is implemented by drivers whose machines have serial ports to the host besides their network: byte streams
// that never leave this computer, so that nothing needs to be encrypted on the way. Where the guest's processor is emulated
// they carry many times what SSH does.
type SerialDialer interface {
	// DialSerial opens the host's end of a running machine's port: OutboxPort or NetworkPort. Whatever comes is the word of
	// whoever in the guest has opened the other end, and what it had begun to say to an earlier user of the port may come
	// first. A port has one user at a time: ErrBusy while there is another. ErrUnsupported if the machine has no such port,
	// as one whose memory was saved by an older version. Closing it gives it up.
	DialSerial(ctx context.Context, name, port string) (net.Conn, error)
}

// The serial ports a machine may have, by the names the guest finds them under.
const (
	OutboxPort  = "calmenu.outbox"
	NetworkPort = "calmenu.network"
)

// Supplied is implemented by drivers that know which package registries their images came set up for.
type Supplied interface {
	// Registries returns their URLs. They were read from the image before any guest ran in it.
	Registries(ctx context.Context, name string) ([]string, error)
}

// Templater is implemented by drivers that can start a new machine as a copy of one that has booted already, in a
// fraction of the time of a boot. Create uses a template by itself where one is ready; the machine is stopped like any
// other then, and its first Start gives it keys, a machine-id and random numbers of its own.
type Templater interface {
	// TemplateReady tells whether Create of s would use a template. The name in s is of no meaning. It is false where
	// there can be none.
	TemplateReady(ctx context.Context, s Spec) (bool, error)
	// EnsureTemplate makes the template for machines like s (image, processors, memory, disk) unless it is there, which
	// takes as long as a boot and some hundred MiB of disk, once. Concurrent calls from several processes do the work
	// once. ErrUnsupported if there can be none of the image, ErrNoImage if EnsureImage was not called.
	EnsureTemplate(ctx context.Context, s Spec, p Progress) error
}

// Inspector reports what the running machine is really exposed to, read from its process rather than its configuration.
type Inspector interface {
	Exposure(ctx context.Context, name string) (Exposure, error)
}

// Spec is what a machine is created from.
type Spec struct {
	Name      string
	Image     string // empty: the driver's default
	CPU       int
	MemoryMiB int
	DiskGiB   int // the guest's disk as it sees it; never smaller than the image
}

// OutboxTag is the VirtioFS tag by which a guest mounts StartOptions.Outbox.
const OutboxTag = "cal-output"

// StartOptions say how a machine is started this time.
type StartOptions struct {
	// Files are put into the guest before it starts, where Capabilities.SeedFiles holds; ignored otherwise.
	Files []SeedFile
	// Outbox is an absolute host folder shared into the guest, where Capabilities.Share holds; empty shares nothing.
	Outbox string
	// Cold gives up a suspended machine's memory and boots it from its disk.
	Cold bool
}

// SeedFile is a file or (Data nil, Mode with os.ModeDir) directory put into the guest at start.
type SeedFile struct {
	Path     string // absolute, in the guest
	Mode     os.FileMode
	UID, GID int
	Data     []byte
}

// Shutdown is how Stop ends a machine.
type Shutdown struct {
	// Guest asks the guest to power itself off; nil powers the machine off at once.
	Guest func(context.Context) error
	// Grace is how long to wait for the guest after that.
	Grace time.Duration
}

// Machine is what is known of a machine now.
type Machine struct {
	Name      string
	Running   bool
	Suspended bool // its memory is saved: Start resumes it
	Resumed   bool // of the running machine: it went on from saved memory instead of booting
	// FromTemplate says of the running machine that it went on from a template's memory, and was seeded as one that boots is.
	FromTemplate bool
	Warm         Warmth    // of the running machine: whether its memory can be saved
	PID          int       // of the running machine's process; 0 if it does not run
	StartedAt    time.Time // of the running machine; zero if unknown
	CPU          int
	MemoryMiB    int
	DiskBytes    int64 // host disk space held, snapshots included; an upper bound where blocks are shared
}

// Warmth tells whether a running machine's memory can be saved, and what speaks against it.
type Warmth struct {
	OK     bool
	Reason string // if not OK: for people, as in "a folder is shared into it"
}

// Snapshot is a driver's record of one snapshot.
type Snapshot struct {
	ID        string
	Created   time.Time
	SizeBytes int64 // what only this snapshot holds: what deleting it would free, as far as the driver can tell
	Memory    bool  // it holds memory too: a rollback to it resumes what ran
}

// Exposure is what a running machine shares with its host, with the evidence for it.
type Exposure struct {
	Shares     []Share
	Restricted bool // the virtual network lets the guest reach nothing by itself
	Clipboard  bool
	Audio      bool
	Listeners  []string // host addresses on which the machine's process accepts connections
	RunsAsRoot bool
	Evidence   string // the process's command line, or what else was read
}

// Share is a host folder the guest can see.
type Share struct {
	HostPath string
	ReadOnly bool
	// ServedAsRoot says that a program with the rights of root stands between the guest and the folder.
	ServedAsRoot bool
}

// Requirement is one thing a driver needs of the host.
type Requirement struct {
	Name     string // "qemu-system-x86_64", "kvm"
	OK       bool
	Optional bool   // the driver works without it, less well
	Detail   string // a version, a path, or why it is not OK
	Hint     string // what to do when it is not OK
}

// Progress is told what a long call is doing. Drivers call it from one goroutine at a time; it must return quickly.
type Progress func(Phase)

// Phase is one step of a long call.
type Phase struct {
	Name        string // "downloading packages", "booting"
	Done, Total int64  // bytes or steps; Total 0 when unknown
	Detail      string // what is going on within the step, one line for people, which may be the guest's; often empty
}

// Report calls p unless it is nil.
func (p Progress) Report(ph Phase) {
	if p != nil {
		p(ph)
	}
}

var (
	namePattern     = lazyre.New(`^[a-z0-9][a-z0-9-]{0,39}$`)
	snapshotPattern = lazyre.New(`^[a-z0-9]{1,32}$`)
)

// ValidName returns an error that says what a workspace name must look like, or nil.
func ValidName(name string) error {
	if namePattern.MatchString(name) {
		return nil
	}
	return hint.Errorf("Use 1 to 40 lower-case letters, digits and hyphens, beginning with a letter or digit.",
		"%q is not a workspace name", name)
}

// ValidSnapshotID returns an error unless id is 1 to 32 lower-case letters and digits.
func ValidSnapshotID(id string) error {
	if snapshotPattern.MatchString(id) {
		return nil
	}
	return hint.Errorf("`CALMenu snapshot list` shows the snapshots there are.", "%q is not a snapshot identifier", id)
}
