package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/helper"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/isolation"
	"github.com/calmenu/calmenu/internal/vm"
)

func (a *App) identityDir(name string) string {
	return filepath.Join(a.Home.WorkspaceDir(name), "keys")
}

// bootTime is how long a guest may take from the start of its machine to an SSH session.
func (a *App) bootTime() time.Duration {
	if a.Driver.Info().Capabilities.Emulated {
		return 4 * time.Minute
	}
	return 3 * time.Minute
}

// guestOptions are how the guest of a workspace is reached: by its driver, with the workspace's own key, and only if it
// shows the host key pinned for it.
func (a *App) guestOptions(name string) (guest.Options, *guest.Identity, error) {
	id, err := guest.EnsureIdentity(a.identityDir(name))
	if err != nil {
		return guest.Options{}, nil, err
	}
	pinned, err := a.pinned(id)
	if err != nil {
		return guest.Options{}, nil, err
	}
	caps := a.Driver.Info().Capabilities
	var patience time.Duration // the connection's own default
	if caps.Emulated {
		patience = time.Minute // on a busy host, an emulated guest is slow to answer
	}
	return guest.Options{
		Dial:    func(ctx context.Context) (net.Conn, error) { return a.Driver.DialSSH(ctx, name) },
		User:    caps.User,
		Auth:    []ssh.AuthMethod{ssh.PublicKeys(id.Signer())},
		HostKey: pinned,
		Ciphers: guest.Ciphers(caps.Emulated), GuestOS: caps.GuestOS, Timeout: patience,
	}, id, nil
}

// pinned is the host key a guest must show: the one made for it where it is put in before the first boot, the one met
// over the driver's own channel otherwise.
func (a *App) pinned(id *guest.Identity) (ssh.PublicKey, error) {
	if a.Driver.Info().Capabilities.SeedFiles {
		return id.HostPublic(), nil
	}
	return id.Pinned()
}

// notRunning says that a workspace's guest cannot be reached, and how to have it run.
func notRunning(name string, err error) error {
	return hint.Wrap(fmt.Errorf("connecting to %q: %w", name, err), "Start it: CALMenu start "+name)
}

// Connect opens a connection into a workspace's running guest.
func (a *App) Connect(ctx context.Context, w *config.Workspace) (*guest.Client, error) {
	m, err := a.Driver.Machine(ctx, w.Name)
	if err == nil && !m.Running {
		err = vm.ErrNotRunning
	}
	if err != nil {
		return nil, notRunning(w.Name, err)
	}
	o, _, err := a.guestOptions(w.Name)
	if err != nil {
		return nil, err
	}
	c, err := guest.Connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("connecting to %q: %w", w.Name, err)
	}
	return c, nil
}

// connecting is a connection that is being borrowed or made.
type connecting struct {
	cancel context.CancelFunc
	made   chan struct{} // closed when it is, or cannot be
	c      *guest.Client
	shared bool // it is the one the workspace is kept over, and may end with its keeper
	done   func()
	err    error
}

// beginBorrow begins what borrow does, or Connect if it is to be one's own. It is to be closed.
func (a *App) beginBorrow(ctx context.Context, w *config.Workspace, own bool) *connecting {
	ctx, cancel := context.WithCancel(ctx)
	n := &connecting{cancel: cancel, made: make(chan struct{})}
	go func() {
		defer close(n.made)
		if !own {
			n.c, n.done = a.shared(ctx, w.Name)
		}
		if n.shared = n.c != nil; !n.shared {
			n.c, n.err = a.Connect(ctx, w)
			n.done = func() { _ = n.c.Close() }
		}
	}()
	return n
}

// client waits for the connection.
func (n *connecting) client(ctx context.Context) (*guest.Client, error) {
	select {
	case <-n.made:
		return n.c, n.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// failed is why there is no connection; nil while that is not known.
func (n *connecting) failed() error {
	select {
	case <-n.made:
		return n.err
	default:
		return nil
	}
}

// overShared tells whether the connection is one that may have ended with its keeper.
func (n *connecting) overShared() bool {
	select {
	case <-n.made:
		return n.shared
	default:
		return false
	}
}

func (n *connecting) close() {
	n.cancel()
	<-n.made
	if n.err == nil {
		n.done()
	}
}

// keptAnswer is how soon the connection a workspace is kept over must answer to be used for something else: as long as a
// new one takes.
const keptAnswer = 2 * time.Second

// borrow returns a connection there is already, which is the caller's or the one the workspace is kept over by this process
// or another, or makes one; done ends what it made.
func (a *App) borrow(
	ctx context.Context, c *guest.Client, w *config.Workspace,
) (use *guest.Client, done func(), err error) {
	if c != nil && c.Err() == nil {
		return c, func() {}, nil
	}
	if c, done = a.shared(ctx, w.Name); c != nil {
		return c, done, nil
	}
	if c, err = a.Connect(ctx, w); err != nil {
		return nil, nil, err
	}
	return c, func() { _ = c.Close() }, nil
}

// shared returns the connection a workspace is kept over by this process or another, and what ends its use; nil if none is.
func (a *App) shared(ctx context.Context, name string) (c *guest.Client, done func()) {
	if c := a.kept(ctx, name); c != nil {
		return c, func() {}
	}
	if c := a.lent(ctx, name); c != nil {
		return c, func() { _ = c.Close() }
	}
	return nil, nil
}

// lent returns the connection another process keeps a workspace over, if one does and its guest answers.
func (a *App) lent(ctx context.Context, name string) *guest.Client {
	o, _, err := a.guestOptions(name)
	if err != nil {
		return nil
	}
	c, err := guest.Borrow(ctx, a.lentSocket(name), o)
	if err != nil {
		a.Log.Debug().Str("workspace", name).Err(err).Msg("making a connection to the guest")
		return nil
	}
	return c
}

// lentSocket is where the process that keeps a workspace lends its connection to others.
func (a *App) lentSocket(name string) string {
	return filepath.Join(a.Home.WorkspaceDir(name), "guest.sock")
}

// kept returns the connection this process keeps a workspace over, if there is one that lives.
func (a *App) kept(ctx context.Context, name string) *guest.Client {
	link, ok := a.links.Load(name)
	if !ok {
		return nil
	}
	soon, cancel := context.WithTimeout(ctx, keptAnswer)
	defer cancel()
	c, err := link.(*guest.Link).Client(soon)
	if err != nil || c.Ping(soon) != nil {
		return nil
	}
	return c
}

// await connects to a guest that is still booting, and reports how long it has been waiting.
func (a *App) await(ctx context.Context, w *config.Workspace, report vm.Progress) (*guest.Client, error) {
	if err := a.introduce(ctx, w, report); err != nil {
		return nil, err
	}
	o, _, err := a.guestOptions(w.Name)
	if err != nil {
		return nil, err
	}
	waitCtx, cancel := context.WithTimeout(ctx, a.bootTime())
	defer cancel()
	// A machine whose process has ended will never answer.
	go a.watchMachine(waitCtx, cancel, w.Name)
	report.Report(vm.Phase{Name: "waiting for SSH"})
	c, err := guest.WaitConnect(waitCtx, o, func(int, error) { report.Report(vm.Phase{Name: "waiting for SSH"}) })
	if err == nil {
		return c, nil
	}
	if m, merr := a.Driver.Machine(context.WithoutCancel(ctx), w.Name); ctx.Err() == nil && merr == nil && !m.Running {
		return nil, hint.Wrap(fmt.Errorf("the machine ended while it was booting: %w", vm.ErrNotRunning),
			"`CALMenu logs` shows its console.")
	}
	if ctx.Err() == nil && errors.Is(waitCtx.Err(), context.DeadlineExceeded) {
		return nil, hint.Wrap(fmt.Errorf("the guest did not answer within %s: %w", a.bootTime(), err),
			"`CALMenu logs` shows its console; CALMenu restart "+w.Name+" tries again.")
	}
	return nil, err
}

// ended tells of what a driver says of a machine whether it has ended or is no more.
func ended(m vm.Machine, err error) bool {
	return errors.Is(err, vm.ErrNotFound) || err == nil && !m.Running
}

// watchMachine calls cancel when a machine has ended, unless ctx ends before.
func (a *App) watchMachine(ctx context.Context, cancel context.CancelFunc, name string) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if ended(a.Driver.Machine(ctx, name)) {
				cancel()
				return
			}
		}
	}
}

// hostCAs are where operating systems keep the bundle of certificate authorities they trust.
var hostCAs = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

const guestCAs = "/etc/ssl/certs/ca-certificates.crt"

// guestUID is the account's number in a guest that takes seed files.
const guestUID = 1000

// seed is what is put into a guest before it starts: its identity, who may log in, whom it trusts, what it is, and CALMenu's
// own program, which an emulated guest would take seconds to receive when it is first needed.
func (a *App) seed(w *config.Workspace) ([]vm.SeedFile, error) {
	caps := a.Driver.Info().Capabilities
	if !caps.SeedFiles {
		return nil, nil
	}
	id, err := guest.EnsureIdentity(a.identityDir(w.Name))
	if err != nil {
		return nil, err
	}
	const uid = guestUID
	home := "/home/" + caps.User
	dir := func(path string, mode os.FileMode, owner int) vm.SeedFile {
		return vm.SeedFile{Path: path, Mode: os.ModeDir | mode, UID: owner, GID: owner}
	}
	files := []vm.SeedFile{
		{Path: "/etc/ssh/ssh_host_ed25519_key", Mode: 0o600, Data: id.HostKeyPEM()},
		{Path: "/etc/ssh/ssh_host_ed25519_key.pub", Mode: 0o644, Data: id.HostKeyPub()},
		dir(home+"/.ssh", 0o700, uid),
		{Path: home + "/.ssh/authorized_keys", Mode: 0o600, UID: uid, GID: uid, Data: id.AuthorizedKey()},
		{Path: "/etc/hostname", Mode: 0o644, Data: []byte(w.Name + "\n")},
		{Path: "/etc/hosts", Mode: 0o644, Data: fmt.Appendf(nil, "127.0.0.1 localhost %s\n::1 localhost\n", w.Name)},
		{Path: home + "/.cal-vm-info", Mode: 0o644, UID: uid, GID: uid, Data: a.vmInfo(w)},
		dir(home+"/workspace", 0o755, uid),
		dir(home+"/output", 0o755, uid),
	}
	network, err := networkSeed(w)
	if err != nil {
		return nil, err
	}
	files = append(files, network...)
	files = append(files, helper.SeedFiles(caps.GuestOS, home, uid)...)
	if w.Network.TrustHostCA {
		for _, f := range hostCAs {
			if b, err := os.ReadFile(f); err == nil {
				files = append(files, vm.SeedFile{Path: guestCAs, Mode: 0o644, Data: b})
				break
			}
		}
	}
	return files, nil
}

// vmInfo tells programs in the guest where they are.
func (a *App) vmInfo(w *config.Workspace) []byte {
	return fmt.Appendf(nil, "CAL_VM=true\nCAL_VM_NAME=%s\nCAL_VM_CREATED=%s\nCAL_VERSION=%s\n",
		w.Name, w.CreatedAt.UTC().Format(time.RFC3339), Version())
}

// What is done to a guest that has been met, by the names people see.
const (
	phaseClock     = "setting the clock"
	phaseSetup     = "checking the guest's setup"
	phaseIsolation = "checking isolation"
)

// prepareGuest does to a guest that has just started what it needs from outside: the right time, and its setup. It tells
// whether anything was missing that a guest cannot do without.
func (a *App) prepareGuest(
	ctx context.Context, w *config.Workspace, c *guest.Client, m vm.Machine, report vm.Progress,
) (changed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	report.Report(vm.Phase{Name: phaseClock})
	timely := make(chan error, 1)
	go func() { timely <- a.tellTime(ctx, c, m) }()
	// What is only looked at may be looked at meanwhile: each takes the guest some processes to start.
	report.Report(vm.Phase{Name: phaseSetup})
	return a.provision(ctx, w, c, func() error { return <-timely }, report)
}

// tellTime gives a guest that has just started the right time, and one that was resumed random numbers of its own.
func (a *App) tellTime(ctx context.Context, c *guest.Client, m vm.Machine) error {
	begun := time.Now()
	if m.Resumed {
		if err := c.Renew(ctx, begun, helperName(c)); err != nil || time.Since(begun) <= guest.ClockGood {
			return err
		}
	}
	return c.CorrectClock(ctx)
}

// helperName is the name of CALMenu's own program in a guest; empty if there is none for it.
func helperName(c *guest.Client) string {
	name, err := helper.Name(c.GuestOS())
	if err != nil {
		return ""
	}
	return name
}

// learnHelper finds that name out, which takes as long as a connection that is borrowed, before anybody asks.
func (a *App) learnHelper() { _, _ = helper.Name(a.Driver.Info().Capabilities.GuestOS) }

// Subject is what the isolation of a workspace is checked on.
func (a *App) subject(w *config.Workspace, c isolation.Runner) (*isolation.Subject, error) {
	_, id, err := a.guestOptions(w.Name)
	if err != nil {
		return nil, err
	}
	pinned, err := a.pinned(id)
	if err != nil {
		return nil, err
	}
	caps := a.Driver.Info().Capabilities
	own := ""
	if caps.GuestOS == "linux" {
		own, _ = helper.Name(caps.GuestOS) // none is no obstacle
	}
	return &isolation.Subject{
		Driver: a.Driver, Name: w.Name, Guest: c, User: caps.User, Helper: own,
		HostKey: pinned, Identity: id.Signer().PublicKey(), Proxy: guestProxy, Weakened: weakened(w),
		Outbox: a.sharedOutbox(w),
	}, nil
}
