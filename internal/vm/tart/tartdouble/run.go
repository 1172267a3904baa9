package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// What the double keeps in a machine's directory beside Tart's files.
const (
	guestHome    = "double-home"    // the guest user's home: with disk.img, what is on the disk
	guestHostKey = "double-hostkey" // of its SSH server
	guestSSH     = "double-ssh"     // where that listens now
	guestEnv     = "double-env"     // for commands run in the guest
	guestMemory  = "double-memory"  // what a boot empties and state.vzvmsave holds of a suspended machine
)

// runVM is `tart run`: it lives as long as the machine does (rows 4, 26-34, 56-63).
func runVM(_ context.Context, h *home, a *arguments) error {
	name := a.positionals[0]
	m, err := h.open(name)
	if err != nil {
		// validate() opens the machine, so its errors come out as any other's: exit 1 (row 4).
		return failC("%s", strings.TrimPrefix(err.Error(), "Error: "))
	}
	c, err := m.config()
	if err != nil {
		return err
	}
	suspendable := a.flags["--suspendable"] || m.suspended()
	if err := checkRunArguments(a, c, suspendable); err != nil {
		return err
	}
	script := h.guest(name)
	time.Sleep(seconds(script.LockDelay))
	whole, err := lockDir(h.dir, true)
	if err != nil {
		return err
	}
	if err := h.resetCollidingMAC(m, &c); err != nil {
		return err
	}
	if err := checkNetwork(a); err != nil {
		return err
	}
	if err := checkShares(a.values["--dir"]); err != nil {
		return err
	}
	lock, err := m.tryLock()
	if err != nil {
		return failA(2, `VM "%s" is already running!`, name)
	}
	// From here on this process must not close config.json: the lock would end with it.
	defer lock.Close()
	whole.Close()
	r := &running{
		home: h, machine: m, config: c, script: script, lock: lock, suspendable: suspendable,
		shared: a.has("--dir"),
	}
	return r.live()
}

func checkRunArguments(a *arguments, c config, suspendable bool) error {
	if suspendable && c.OS != "darwin" {
		return failUsage("run", "You can only suspend macOS VMs")
	}
	nets := 0
	for _, on := range []bool{
		a.has("--net-bridged"), a.has("--net-host"), a.has("--net-softnet") || a.has("--net-softnet-allow") ||
			a.has("--net-softnet-block") || a.has("--net-softnet-expose"),
	} {
		if on {
			nets++
		}
	}
	if nets > 1 {
		return failUsage("run", "--net-bridged, --net-softnet and --net-host are mutually exclusive")
	}
	return nil
}

func checkNetwork(a *arguments) error {
	for _, o := range []string{"--net-softnet", "--net-host", "--net-softnet-allow", "--net-softnet-block"} {
		if a.has(o) {
			if _, err := exec.LookPath("softnet"); err != nil {
				return failC(`InitializationFailed(why: "softnet not found in PATH")`)
			}
		}
	}
	return nil
}

// checkShares reads --dir values; several of one tag must all be named (row 61).
func checkShares(values []string) error {
	perTag := map[string][]bool{}
	for _, v := range values {
		tag := "com.apple.virtio-fs.automount"
		parts := strings.Split(v, ":")
		if last := parts[len(parts)-1]; len(parts) > 1 {
			options := false
			for _, o := range strings.Split(last, ",") {
				if t, ok := strings.CutPrefix(o, "tag="); ok {
					tag, options = t, true
				}
				options = options || o == "ro"
			}
			if options {
				parts = parts[:len(parts)-1]
			}
		}
		perTag[tag] = append(perTag[tag], len(parts) > 1)
	}
	for _, named := range perTag {
		for _, n := range named {
			if !n && len(named) > 1 {
				return failUsage("", "invalid --dir syntax: "+
					"for multiple directory shares each one of them should be named")
			}
		}
	}
	return nil
}

// resetCollidingMAC gives a machine whose address runs already a new one, and forgets its memory (row 60).
func (h *home) resetCollidingMAC(m machine, c *config) error {
	all, err := h.machines()
	if err != nil {
		return err
	}
	for _, other := range all {
		oc, err := other.config()
		if err != nil {
			return err
		}
		if other.name == m.name || oc.MACAddress != c.MACAddress || other.holder() == 0 {
			continue
		}
		fmt.Println("There is already a running VM with the same MAC address!")
		fmt.Println("Resetting VM to assign a new MAC address...")
		c.MACAddress = randomMAC()
		if err := m.save(*c); err != nil {
			return err
		}
		return removeIfThere(m.file(savedState))
	}
	return nil
}

type running struct {
	*home
	machine     machine
	config      config
	script      guest
	lock        *os.File
	suspendable bool
	shared      bool
	guest       *vmtest.SSHGuest
	off         chan struct{}
}

// live starts the guest and waits for whatever ends it first.
func (r *running) live() error {
	if err := r.checkStart(); err != nil {
		return err
	}
	interrupt, suspend := make(chan os.Signal, 8), make(chan os.Signal, 1)
	signal.Notify(interrupt, syscall.SIGINT)
	signal.Notify(suspend, syscall.SIGUSR1)
	ask := make(chan os.Signal, 8)
	signal.Notify(ask, syscall.SIGUSR2)
	if err := r.restore(); err != nil {
		return err
	}
	if err := r.boot(); err != nil {
		return failA(1, "%v", err)
	}
	defer r.guest.Wait()
	defer r.guest.Close()
	var exit <-chan time.Time
	if r.script.ExitAfter > 0 || r.script.ExitError != "" {
		exit = time.After(seconds(r.script.ExitAfter))
	}
	for {
		select {
		case <-interrupt:
			fmt.Println("Stopping VM...")
			if !r.script.IgnoreSIGINT {
				return nil
			}
		case <-ask:
			fmt.Println("Requesting guest OS to stop...")
		case <-suspend:
			return r.suspend()
		case <-exit:
			if r.script.ExitError != "" {
				fmt.Println("guest has stopped the virtual machine due to error:", r.script.ExitError)
				return nil // row 29
			}
			fmt.Println("guest has stopped the virtual machine")
			return nil
		case <-r.off:
			fmt.Println("guest has stopped the virtual machine")
			return nil
		}
	}
}

// checkStart is the virtualization framework's word, spoken while the machine is seen running already (rows 30 and 31).
func (r *running) checkStart() error {
	if r.script.StartError != "" {
		return failA(1, "%s", r.script.StartError)
	}
	if r.config.OS != "darwin" {
		return nil
	}
	all, err := r.machines()
	if err != nil {
		return err
	}
	var others []string
	for _, m := range all {
		if m.name == r.machine.name {
			continue // its config.json must not be opened and closed here
		}
		if c, err := m.config(); err == nil && c.OS == "darwin" && m.holder() != 0 {
			others = append(others, m.name)
		}
	}
	if len(others)+r.home.script.ForeignVMs < r.home.script.DarwinLimit {
		return nil
	}
	text := "The number of VMs exceeds the system limit"
	if len(others) > 0 {
		text += " (other running VMs: " + strings.Join(others, ", ") + ")"
	}
	return failA(1, "%s", text)
}

// boot starts the guest's SSH server, its control socket and its network.
func (r *running) boot() error {
	key, err := r.hostKey()
	if err != nil {
		return err
	}
	// The guest's temporary files are removed with TART_HOME, even if this process is killed.
	if err := os.MkdirAll(r.path("double-run"), 0o700); err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", r.path("double-run")); err != nil {
		return err
	}
	r.off = make(chan struct{})
	r.guest, err = vmtest.NewSSHGuest(vmtest.SSHGuestOptions{
		Home: r.machine.file(guestHome), Memory: r.machine.file(guestMemory), HostKey: key,
		User: "admin", Password: "admin", OnPowerOff: func() { close(r.off) },
	})
	if err != nil {
		return err
	}
	// Whole at once: other processes look for these files while they appear.
	err = atomicfile.Write(r.machine.file(guestEnv), []byte(strings.Join(r.guest.Environ(), "\x00")), 0o600)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(r.machine.file(guestSSH), []byte(r.guest.Addr()), 0o600); err != nil {
		return err
	}
	if err := r.serveControl(); err != nil {
		return err
	}
	if r.script.IP == "" {
		return nil
	}
	if err := os.MkdirAll(r.path("double-leases"), 0o700); err != nil {
		return err
	}
	time.AfterFunc(seconds(r.script.IPDelay), func() {
		_ = atomicfile.Write(r.lease(r.config.MACAddress), []byte(r.script.IP), 0o600)
	})
	return nil
}

func (r *running) hostKey() (ssh.Signer, error) {
	file := r.machine.file(guestHostKey)
	if data, err := os.ReadFile(file); err == nil {
		return ssh.ParsePrivateKey(data)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(key)
}

// socketDir goes where the control socket is, by the percent-encoded path tart mistakes for one: with a space or a
// letter beyond ASCII in it this fails unnoticed and the socket is in the working directory (row 55).
func socketDir(m machine) { _ = os.Chdir((&url.URL{Path: m.dir}).EscapedPath()) }

// serveControl answers control.sock: once the agent is up each connection is greeted, and ends with the machine.
func (r *running) serveControl() error {
	socketDir(r.machine)
	if err := removeIfThere("control.sock"); err != nil {
		return err
	}
	l, err := net.Listen("unix", "control.sock")
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // it may linger
	booted := time.After(seconds(r.script.BootDelay))
	go func() {
		<-booted
		for !r.script.NoAgent {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.serveExec(conn)
		}
	}()
	return nil
}

// serveExec greets one `tart exec` and, when that has run its command, looks whether it asked for a power-off.
func (r *running) serveExec(conn net.Conn) {
	defer conn.Close()
	if _, err := conn.Write([]byte("ok\n")); err != nil {
		return
	}
	if r.script.AgentDrops > 0 {
		time.AfterFunc(seconds(r.script.AgentDrops), func() { conn.Close() })
	}
	buf := make([]byte, 1)
	for {
		_, err := conn.Read(buf)
		r.guest.CheckPowerOff()
		if err != nil {
			return
		}
	}
}
