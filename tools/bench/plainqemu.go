package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// plain is QEMU as one runs it by hand, with its own snapshots inside the qcow2 file: the guest, kernel and devices of a
// workspace, on a disk that is one file.
type plain struct {
	dir     string // has the disk and the monitor's socket
	owner   string // the workspace whose keys the guest knows
	kernel  string
	initrd  string
	machine []string // accelerator, processor, memory, as the workspace's machine has them
	open    bool     // its network leads out: QEMU's user-mode network as it is by default
	c       *cal
}

func (p *plain) disk() string { return filepath.Join(p.dir, "disk.qcow2") }

// plainLike copies a workspace's machine, which it stops.
func (c *cal) plainLike(ctx context.Context, w workspace) (*plain, error) {
	guest, err := c.openSSH(ctx, w.name)
	if err != nil {
		return nil, err
	}
	machine := filepath.Join(c.machines(), w.name, "machine")
	p := &plain{
		dir: filepath.Join(c.dir, "plain"), owner: w.name, c: c, kernel: filepath.Join(machine, "kernel"),
		machine: options(guest.evidence, "-accel", "-cpu", "-m", "-smp"),
	}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return nil, fmt.Errorf("copying the machine: %w", err)
	}
	// The initrd carries the guest's keys, and is of one start.
	p.initrd = filepath.Join(p.dir, "initrd")
	initrd, err := os.ReadFile(filepath.Join(machine, "initrd"))
	if err == nil {
		err = os.WriteFile(p.initrd, initrd, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("copying the machine: %w", err)
	}
	if _, _, err := c.run(ctx, "stop", w.name); err != nil {
		return nil, err
	}
	record, err := os.ReadFile(filepath.Join(machine, "machine.json"))
	if err != nil {
		return nil, fmt.Errorf("copying the machine: %w", err)
	}
	layer, err := activeLayer(record)
	if err != nil {
		return nil, err
	}
	return p, qemuImg(ctx, "convert", "-O", "qcow2", filepath.Join(machine, layer), p.disk())
}

// options returns these options of a command line with their values.
func options(commandLine string, names ...string) []string {
	var found []string
	fields := strings.Fields(commandLine)
	for _, name := range names {
		for i := 0; i+1 < len(fields); i++ {
			if fields[i] == name {
				found = append(found, name, fields[i+1])
			}
		}
	}
	return found
}

// activeLayer returns the file of a machine's disk, from the record that its driver keeps.
func activeLayer(record []byte) (string, error) {
	var m struct {
		Disk struct{ Active string }
	}
	if err := json.Unmarshal(record, &m); err != nil {
		return "", fmt.Errorf("reading the machine's record: %w", err)
	}
	if m.Disk.Active == "" {
		return "", errors.New("reading the machine's record: it names no disk")
	}
	return filepath.Join("layers", m.Disk.Active+".qcow2"), nil
}

func qemuImg(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "qemu-img", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-img %s: %w: %s", args[0], err, lastLines(string(out), 3))
	}
	return nil
}

// running is a plain machine that runs.
type running struct {
	cmd     *exec.Cmd
	monitor net.Conn
	answers *json.Decoder
	guest   sshPeer
}

// start boots the machine and returns when a command in its guest was answered.
func (p *plain) start(ctx context.Context) (*running, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(p.dir, "qmp.sock")
	r := &running{}
	if r.guest, err = p.c.sshTo(p.owner, net.JoinHostPort("127.0.0.1", port)); err != nil {
		return nil, err
	}
	restrict := "on"
	if p.open {
		restrict = "off"
	}
	r.cmd = exec.CommandContext(ctx, "qemu-system-x86_64", append(append([]string(nil), p.machine...),
		"-M", "q35", "-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
		"-serial", "file:"+filepath.Join(p.dir, "serial.log"), "-qmp", "unix:"+socket+",server=on,wait=off",
		"-kernel", p.kernel, "-initrd", p.initrd, "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1",
		"-drive", "if=none,id=disk,file="+p.disk()+",format=qcow2,cache=writeback,discard=unmap,detect-zeroes=unmap",
		"-device", "virtio-blk-pci,drive=disk",
		"-netdev", "user,id=net,restrict="+restrict+",ipv6=off,hostfwd=tcp:127.0.0.1:"+port+"-:22",
		"-device", "virtio-net-pci,netdev=net,romfile=",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
	)...)
	r.cmd.Dir = p.dir
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a plain QEMU: %w", err)
	}
	if err = r.connect(ctx, socket); err == nil {
		err = r.guest.awaitSSH(ctx)
	}
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("starting a plain QEMU: %w", err)
	}
	return r, nil
}

// connect opens the monitor (QEMU's docs/interop/qmp-spec.txt).
func (r *running) connect(ctx context.Context, socket string) error {
	for range 200 {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			r.monitor, r.answers = conn, json.NewDecoder(conn)
			_, err := r.command("qmp_capabilities", nil)
			return err
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("its monitor does not listen")
}

// command runs a command of the monitor's and returns its result, passing over greeting and events.
func (r *running) command(name string, arguments any) (json.RawMessage, error) {
	if err := r.monitor.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return nil, fmt.Errorf("asking QEMU to %s: %w", name, err)
	}
	request := map[string]any{"execute": name}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(r.monitor).Encode(request); err != nil {
		return nil, fmt.Errorf("asking QEMU to %s: %w", name, err)
	}
	return readAnswer(r.answers, name)
}

func readAnswer(from *json.Decoder, name string) (json.RawMessage, error) {
	for {
		var m struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		switch err := from.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("asking QEMU to %s: it ended", name)
		case err != nil:
			return nil, fmt.Errorf("asking QEMU to %s: %w", name, err)
		case m.Error != nil:
			return nil, fmt.Errorf("asking QEMU to %s: %s", name, m.Error.Desc)
		case m.Return != nil:
			return m.Return, nil
		}
	}
}

// human runs a line of QEMU's monitor for people, which says something only if it fails.
func (r *running) human(line string) error {
	answer, err := r.command("human-monitor-command", map[string]string{"command-line": line})
	if err != nil {
		return err
	}
	var said string
	if err := json.Unmarshal(answer, &said); err != nil {
		return fmt.Errorf("asking QEMU to %s: %w", line, err)
	}
	if said = strings.TrimSpace(said); said != "" {
		return fmt.Errorf("asking QEMU to %s: %s", line, said)
	}
	return nil
}

// savedSize returns what the state of a machine takes that savevm put into its disk's file, from QEMU's query-block. The
// file itself may have had room for it.
func savedSize(answer []byte) (int64, error) {
	var blocks []struct {
		Inserted struct {
			Image struct {
				Snapshots []struct {
					Size int64 `json:"vm-state-size"`
				}
			}
		}
	}
	if err := json.Unmarshal(answer, &blocks); err != nil {
		return 0, fmt.Errorf("asking QEMU for its snapshots: %w", err)
	}
	for _, b := range blocks {
		for _, s := range b.Inserted.Image.Snapshots {
			if s.Size > 0 {
				return s.Size, nil
			}
		}
	}
	return 0, errors.New("asking QEMU for its snapshots: none has memory")
}

// powerOff shuts the guest down and waits for its machine to end.
func (r *running) powerOff(ctx context.Context) error {
	// The connection may break before it says that it was done.
	_, _ = r.guest.output(ctx, "sudo systemctl poweroff")
	ended := make(chan error, 1)
	go func() { ended <- r.cmd.Wait() }()
	select {
	case err := <-ended:
		_ = r.monitor.Close()
		return err
	case <-time.After(time.Minute):
		r.stop()
		return errors.New("shutting the plain guest down: it did not end within a minute")
	}
}

func (r *running) stop() {
	if r.monitor != nil {
		_ = r.monitor.Close()
	}
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()
}

// awaitSSH waits until the guest does a command.
func (p sshPeer) awaitSSH(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("the guest does not answer"))
	defer cancel()
	greeted := make(chan struct{}, 1)
	for began := time.Now(); ; {
		// QEMU accepts connections long before the guest does, and one that the guest has missed may wait for a second: so
		// there are several, and more patience with a guest that is slow.
		patience := max(time.Second, time.Since(began)/10)
		go p.greet(ctx, patience, greeted)
		select {
		case <-greeted:
			_, err := p.output(ctx, "true")
			return err
		case <-time.After(patience / 5):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// greet tells if an SSH server answers in time.
func (p sshPeer) greet(ctx context.Context, patience time.Duration, greeted chan<- struct{}) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	hello := make([]byte, 4)
	if _, err := io.ReadFull(conn, hello); err == nil && string(hello) == "SSH-" {
		select {
		case greeted <- struct{}{}:
		default: // another has said so
		}
	}
}
