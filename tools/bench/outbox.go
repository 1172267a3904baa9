package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/resources"
)

// What is brought in. All of it is random bytes, which nothing can compress.
const (
	smallFiles, smallSize = 5000, 4 << 10
	largeSize             = 512 << 20
	treeFiles, treeSize   = 10_000, 1 << 10

	// Where the processor is emulated, 512 MiB take a minute for each program; what counts is the rate.
	guestLargeSize, guestLargeRuns = 128 << 20, 3
)

// outboxMemory is the most memory that bringing in a large file may take, in MiB.
const outboxMemory = 64

// outboxes measures how fast what a guest hands out lands, beside what one would copy it with, in turns: from OpenSSH's
// server on this host, where the programs at both ends are what counts, and from a workspace's guest.
func outboxes(ctx context.Context, b *bench) (err error) {
	dir, err := os.MkdirTemp("", "calmenu-bench-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	program, err := resources.CalHelper("linux")
	if err != nil {
		return err
	}
	helper := filepath.Join(dir, "calhelper")
	if err := os.WriteFile(helper, program, 0o755); err != nil {
		return fmt.Errorf("writing the helper: %w", err)
	}
	l, err := startLoopback(ctx, dir)
	if err != nil {
		return err
	}
	defer l.stop()
	peer, err := l.peer()
	if err != nil {
		return err
	}
	onHost := &outboxBench{
		b: b, self: self, where: "loopback sshd", dir: dir, from: l.ours(), peer: peer, helper: helper,
		source: filepath.Join(dir, "source"), runs: b.runs, smallTarget: 0.5, largeSize: largeSize, largeRuns: b.runs,
		peers: []string{"rsync -a -e ssh", "scp -r", "sftp", "tar over ssh"},
	}
	return errors.Join(onHost.measure(ctx), outboxInGuest(ctx, b, self))
}

// outboxInGuest is the same from a workspace's guest, the small files once and without scp, which speaks SFTP as sftp does:
// a minute for each where there is no KVM. Last, the agent has what lands notified.
func outboxInGuest(ctx context.Context, b *bench, self string) (err error) {
	c, err := newCAL(b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.remove(fast)) }()
	if err := c.create(ctx, fast, ""); err != nil {
		return err
	}
	if _, _, err := c.run(ctx, "start", fast); err != nil {
		return err
	}
	peer, err := c.openSSH(ctx, fast)
	if err != nil {
		return err
	}
	at, err := c.endpoint(ctx, fast)
	if err != nil {
		return err
	}
	inGuest := &outboxBench{
		b: b, self: self, where: "guest", dir: c.dir, from: at, peer: peer, source: "source", runs: 1, smallTarget: 1 / 1.3,
		largeSize: guestLargeSize, largeRuns: guestLargeRuns, peers: []string{"rsync -a -e ssh", "sftp", "tar over ssh"},
		lent: filepath.Join(c.machines(), fast, "guest.sock"), machines: c.machines(), machine: fast,
	}
	return errors.Join(inGuest.kept(ctx, c), measureArtifacts(ctx, b, c))
}

// kept measures while the agent looks after the guest, which is how people have it.
func (o *outboxBench) kept(ctx context.Context, c *cal) error {
	end, _, err := c.startAgent(ctx)
	if err != nil {
		return err
	}
	defer end()
	for range 4 {
		if err := wait(ctx, settling); err != nil {
			return err
		}
		if _, err := os.Lstat(o.lent); err == nil {
			return o.measure(ctx)
		}
	}
	return errors.New("the agent does not look after the guest")
}

// outboxBench is one server that things are brought in from.
type outboxBench struct {
	b           *bench
	self, where string
	dir         string // scratch on this host
	from        endpoint
	lent        string // see outboxOrder
	machines    string // the same
	machine     string
	peer        sshPeer
	helper      string // see outboxOrder
	source      string // directory of the server
	runs        int    // of the small files
	smallTarget float64
	largeSize   int64 // bytes
	largeRuns   int
	peers       []string // names of copiers
	made        int      // directories to copy into
}

// measure makes what is brought in, and brings it in.
func (o *outboxBench) measure(ctx context.Context) error {
	// One read of random bytes per directory, cut up: a guest is slow at making files, too.
	script := fmt.Sprintf(`set -e; mkdir -p %[1]s/large; cd %[1]s
		many() { # directory, files, bytes
			for d in $(seq 1 $(($2 / 100))); do
				mkdir -p $1/$d; head -c $((100 * $3)) /dev/urandom | split -b $3 -a 2 - $1/$d/file.
			done
		}
		many small %[2]d %[3]d; many many %[4]d %[5]d; head -c %[6]d /dev/urandom >large/large.bin; sync`,
		o.source, smallFiles, smallSize, treeFiles, treeSize, o.largeSize)
	if _, err := o.peer.output(ctx, script); err != nil {
		return err
	}
	// The first pass a guest ever sees puts the helper there, which none of the figures is about.
	dest, err := o.fresh()
	if err != nil {
		return err
	}
	if _, err := o.bring(ctx, o.source+"/none", dest); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{o.small, o.large, o.many, o.latency} {
		if err := part(ctx); err != nil {
			return fmt.Errorf("%s: %w", o.where, err)
		}
	}
	return nil
}

// copier is one way to bring a directory in.
type copier struct {
	name string
	run  func(ctx context.Context, dir, dest string) (*exec.Cmd, error)
}

// copiers are the peers.
func (o *outboxBench) copiers() []copier {
	shell := strings.Join(append([]string{"ssh"}, o.peer.args...), " ") // no argument has a blank in it
	// scp and sftp have another letter for the port.
	args := append([]string(nil), o.peer.args...)
	for i, a := range args {
		if a == "-p" {
			args[i] = "-P"
		}
	}
	all := []copier{
		{"rsync -a -e ssh", func(ctx context.Context, dir, dest string) (*exec.Cmd, error) {
			return exec.CommandContext(ctx, "rsync", "-a", "-e", shell, o.peer.target+":"+dir+"/", dest+"/"), nil
		}},
		{"scp -r", func(ctx context.Context, dir, dest string) (*exec.Cmd, error) {
			return exec.CommandContext(ctx, "scp", append(append([]string{"-q", "-r"}, args...), o.peer.target+":"+dir, dest+"/")...), nil
		}},
		{"sftp", func(ctx context.Context, dir, dest string) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, "sftp", append(append([]string{"-q", "-b", "-"}, args...), o.peer.target)...)
			cmd.Stdin = strings.NewReader("get -r " + dir + " " + dest + "/\n")
			return cmd, nil
		}},
		{"tar over ssh", func(ctx context.Context, dir, dest string) (*exec.Cmd, error) {
			return exec.CommandContext(ctx, "sh", "-c",
				shell+" "+o.peer.target+" tar -cf - -C "+dir+" . | tar -xf - -C "+dest), nil
		}},
	}
	return slices.DeleteFunc(all, func(c copier) bool { return !slices.Contains(o.peers, c.name) })
}

// fresh is a new directory of this host.
func (o *outboxBench) fresh() (string, error) {
	o.made++
	dest := filepath.Join(o.dir, fmt.Sprintf("copy-%d", o.made))
	return dest, os.Mkdir(dest, 0o755)
}

// copied runs a copy and returns how long it took in seconds.
func copied(cmd *exec.Cmd) (float64, error) {
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLines(string(out), 3))
	}
	return time.Since(began).Seconds(), nil
}

// passage is what CALMenu's own way took.
type passage struct {
	seconds float64
	memory  float64 // the most the process had, in MiB
	answer  outboxAnswer
}

// bring brings a directory of the server in, as CALMenu does.
func (o *outboxBench) bring(ctx context.Context, dir, dest string) (passage, error) {
	return o.bringOver(ctx, o.lent, dir, dest)
}

// bringOver is bring over what is lent at a socket.
func (o *outboxBench) bringOver(ctx context.Context, lent, dir, dest string) (passage, error) {
	order := outboxOrder{
		From: o.from, Lent: lent, Dir: dir, Dest: dest, State: dest + ".state", Helper: o.helper,
		Machines: o.machines, Machine: o.machine,
	}
	cmd := order.command(ctx, o.self)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return passage{}, fmt.Errorf("bringing in %s: %w: %s", dir, err, lastLines(problems.String(), 3))
	}
	r := passage{seconds: time.Since(began).Seconds()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.memory = float64(u.Maxrss) / 1024 // KiB on Linux (getrusage(2))
	}
	return r, json.Unmarshal(out.Bytes(), &r.answer)
}

// whole brings a directory in by each copier in turns, and returns the seconds of each by name, ours under "". The copies
// of many files are left to the end: ext4 searches long for inodes after many were given up (recently_deleted in
// fs/ext4/ialloc.c), which whoever is next would pay for.
func (o *outboxBench) whole(ctx context.Context, name string, files, runs int) (map[string][]float64, float64, error) {
	took := map[string][]float64{}
	memory := 0.0
	remove := func(dir string) error {
		if files > 1 {
			return nil
		}
		return os.RemoveAll(dir)
	}
	for range runs {
		dest, err := o.fresh()
		if err != nil {
			return nil, 0, err
		}
		r, err := o.bring(ctx, o.source+"/"+name, dest)
		if err == nil && r.answer.Landed != files {
			err = fmt.Errorf("%d of %d files have landed", r.answer.Landed, files)
		}
		if err != nil {
			return nil, 0, err
		}
		took[""], memory = append(took[""], r.seconds), max(memory, r.memory)
		o.b.progress("%s, %s: %.2f s, %.0f MiB", name, o.where, r.seconds, r.memory)
		if err := errors.Join(remove(dest), remove(dest+".state")); err != nil {
			return nil, 0, err
		}
		for _, p := range o.copiers() {
			dest, err := o.fresh()
			if err != nil {
				return nil, 0, err
			}
			cmd, err := p.run(ctx, o.source+"/"+name, dest)
			if err != nil {
				return nil, 0, err
			}
			seconds, err := copied(cmd)
			if err != nil {
				return nil, 0, err
			}
			took[p.name] = append(took[p.name], seconds)
			o.b.progress("%s, %s, %s: %.2f s", name, o.where, p.name, seconds)
			if err := remove(dest); err != nil {
				return nil, 0, err
			}
		}
	}
	return took, memory, nil
}

func (o *outboxBench) small(ctx context.Context) error {
	took, _, err := o.whole(ctx, "small", smallFiles, o.runs)
	if err != nil {
		return err
	}
	for _, p := range o.copiers() {
		f := Figure{
			Name: fmt.Sprintf("%d files of %d KiB, %s", smallFiles, smallSize>>10, o.where), Value: median(took[""]), Unit: "s",
			Note: spread(took[""]) + "; peer " + spread(took[p.name]) + "; ours hashed, checked and recorded; " + o.connecting(),
		}
		if strings.HasPrefix(p.name, "rsync") {
			f.Target = &Target{Max: o.smallTarget, OfRatio: true}
		}
		o.b.add(f.against(p.name, median(took[p.name])))
	}
	return nil
}

// connecting says what of connecting is in the figures.
func (o *outboxBench) connecting() string {
	if o.lent == "" {
		return "a new process and connection each"
	}
	return "a new process each; ours over the connection that the agent keeps, the peer connects"
}

func (o *outboxBench) large(ctx context.Context) error {
	took, memory, err := o.whole(ctx, "large", 1, o.largeRuns)
	if err != nil {
		return err
	}
	fastest := ""
	for _, p := range o.copiers() {
		if fastest == "" || median(took[p.name]) < median(took[fastest]) {
			fastest = p.name
		}
	}
	for _, p := range o.copiers() {
		f := Figure{
			Name: fmt.Sprintf("1 file of %d MiB, %s", o.largeSize>>20, o.where), Value: median(took[""]), Unit: "s",
			Note: spread(took[""]) + "; peer " + spread(took[p.name]),
		}
		if p.name == fastest {
			f.Target = &Target{Max: 1, OfRatio: true}
			f.Note += "; the fastest peer"
		}
		o.b.add(f.against(p.name, median(took[p.name])))
	}
	o.b.add(Figure{
		Name: "memory while that comes in, " + o.where, Value: memory, Unit: "MiB", Target: &Target{Max: outboxMemory},
		Note: "the most the process had",
	})
	return nil
}
