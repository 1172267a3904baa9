//go:build unix

package catch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sshuttle is stock sshuttle, kept running. Its server is on the host: what it takes for SSH is this program, which passes
// bytes on to the port that leads there.
type sshuttle struct {
	cancel context.CancelFunc
	done   chan struct{}
	after  func() // puts back what was done around it
}

// sshuttleUp is how long sshuttle may take to say that it is connected.
const sshuttleUp = 2 * time.Minute

// LatencyBuffer is how many bytes sshuttle sends before it waits for the host to have read them. By itself it takes 32 KiB, and
// then waits more than it sends: uploads of an emulated guest are a third faster with this, and a small request beside one takes
// no longer, which with a mebibyte takes twice as long.
const LatencyBuffer = 256 << 10

func (k *keeper) startSshuttle(ctx context.Context) (method, error) {
	program, err := exec.LookPath("sshuttle")
	if err != nil {
		return nil, errors.New("sshuttle is not installed in this guest")
	}
	argv := []string{
		program, "--method", sshuttleMethod, "--dns", "--disable-ipv6", "--latency-buffer-size", strconv.Itoa(LatencyBuffer),
		"-e", k.options.Program + " pipe " + strconv.Itoa(int(k.options.Stream)), "-r", "calmenu",
	}
	for _, p := range networks() {
		if p.Addr().Is4() {
			argv = append(argv, "-x", p.String())
		}
	}
	argv = append(argv, "-x", "127.0.0.0/8", "0/0")
	after, err := refuseRest(ctx)
	if err != nil {
		k.log.add("refusing what sshuttle cannot carry: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &sshuttle{cancel: cancel, done: make(chan struct{}), after: after}
	up := make(chan error, 1)
	go k.keepSshuttle(ctx, argv, up, s.done)
	timer := time.NewTimer(sshuttleUp)
	defer timer.Stop()
	select {
	case err = <-up:
	case <-timer.C:
		err = fmt.Errorf("sshuttle was not connected after %v", sshuttleUp)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// keepSshuttle starts sshuttle again whenever it ends. up gets how the first start went.
func (k *keeper) keepSshuttle(ctx context.Context, argv []string, up chan<- error, done chan<- struct{}) {
	defer close(done)
	pause := time.Second
	for ctx.Err() == nil {
		begun := time.Now()
		err := k.runSshuttle(ctx, argv, func() {
			select {
			case up <- nil:
			default:
			}
		})
		if ctx.Err() != nil {
			return
		}
		select {
		case up <- fmt.Errorf("sshuttle ended: %w", err):
			return // it never was connected
		default:
		}
		k.log.add("sshuttle ended: %v; starting it again", err)
		if pause = min(2*pause, 10*time.Second); time.Since(begun) > time.Minute {
			pause = time.Second
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (k *keeper) runSshuttle(ctx context.Context, argv []string, connected func()) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	// By SIGTERM it takes its rules back.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = undoTime
	cmd.SysProcAttr = endWithUs()
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	read := make(chan string, 1)
	go func() {
		last := ""
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			last = lines.Text()
			k.log.add("sshuttle: %s", last)
			if strings.Contains(last, "Connected to server") {
				go func() {
					awaitRules(ctx) // it says so a little before they are there
					connected()
				}()
			}
		}
		_, _ = io.Copy(io.Discard, r) // after a line that was too long
		read <- last
	}()
	err := cmd.Run()
	_ = w.Close()
	if last := <-read; err != nil && last != "" {
		return fmt.Errorf("%w: %s", err, last)
	}
	return err
}

func (*sshuttle) name() string          { return Sshuttle }
func (*sshuttle) answer(uint32, []byte) {}

func (s *sshuttle) stop() {
	s.cancel()
	<-s.done
	awaitNoRules()
	s.after()
}
