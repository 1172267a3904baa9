package freezer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watchWord makes the verb the process that watches another one's freeze.
const watchWord = "watch"

// Run is the verb.
func Run(ctx context.Context, args []string) error {
	root, err := openFileSystem("/")
	if err != nil {
		return err
	}
	defer root.close()
	if len(args) == 1 && args[0] == watchWord {
		watch(os.Stdin, root.thaw, Limit)
		return nil
	}
	if len(args) > 0 {
		return errors.New("takes no arguments: the host says what it wants on standard input")
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		unix.Sync()
	}()
	// Who no longer listens must not end it while it is frozen.
	signal.Ignore(syscall.SIGPIPE)
	w, err := startWatch()
	if err != nil {
		return err
	}
	defer w.end()
	<-written
	return serve(ctx, os.Stdin, os.Stdout, root, w.arm)
}

// freezable is what is frozen; tests have their own.
type freezable interface {
	freeze() error
	thaw() error // errThawed if it is not frozen
}

// errThawed says that there was nothing to thaw.
var errThawed = errors.New("it is not frozen")

// serve does what the host says. arm is called before the freeze: from then on it is watched.
func serve(ctx context.Context, in io.Reader, out io.Writer, fs freezable, arm func() error) error {
	words := make(chan string)
	over := make(chan struct{})
	defer close(over)
	go func() {
		defer close(words)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			select {
			case words <- lines.Text():
			case <-over:
				return
			}
		}
	}()
	say := func(word string) error {
		_, err := io.WriteString(out, word+"\n")
		return err
	}
	next := func() string {
		select {
		case word := <-words: // "" at the end
			return word
		case <-ctx.Done():
			return ""
		}
	}
	if err := say(Ready); err != nil {
		return err
	}
	if next() != Freeze {
		return nil
	}
	if err := arm(); err != nil {
		return err
	}
	if err := fs.freeze(); err != nil {
		return fmt.Errorf("freezing the file system: %w", err)
	}
	// Whatever the host says next, or that it can no longer be told, is the end of it.
	if say(Frozen) == nil {
		next()
	}
	err := fs.thaw()
	if errors.Is(err, errThawed) {
		return say(Early)
	}
	if err != nil {
		return fmt.Errorf("thawing the file system: %w", err)
	}
	return say(Thawed)
}

// watcher is the process that watches, told by a byte that the freeze begins and by another that it is over.
type watcher struct {
	cmd *exec.Cmd
	to  io.WriteCloser
}

func startWatch() (*watcher, error) {
	cmd := exec.Command("/proc/self/exe", Verb, watchWord)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	to, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("starting what watches the freeze: %w", err)
	}
	return &watcher{cmd, to}, nil
}

var armed, done = []byte("a"), []byte("d")

func (w *watcher) arm() error {
	if _, err := w.to.Write(armed); err != nil {
		return fmt.Errorf("telling what watches the freeze: %w", err)
	}
	return nil
}

// end is called when it is thawed, or was not frozen. The process ends by itself.
func (w *watcher) end() { _, _ = w.to.Write(done) }

// again is how often it is thawed after the limit, in case the freeze was completed only then.
const again = 4

// watch waits for a freeze to begin and thaws when that took longer than the limit, or who froze has ended.
func watch(in io.Reader, thaw func() error, limit time.Duration) {
	told := make(chan byte)
	over := make(chan struct{})
	defer close(over)
	go func() {
		defer close(told)
		for b := make([]byte, 1); ; {
			if _, err := io.ReadFull(in, b); err != nil {
				return
			}
			select {
			case told <- b[0]:
			case <-over:
				return
			}
		}
	}()
	if b, ok := <-told; !ok || b != armed[0] {
		return
	}
	for range again {
		timer := time.NewTimer(limit)
		select {
		case _, ok := <-told:
			timer.Stop()
			if !ok {
				_ = thaw() // it has ended, and with it the freezing itself
			}
			return
		case <-timer.C:
			_ = thaw()
		}
	}
}

// fileSystem is one that is mounted.
type fileSystem struct{ fd int }

func openFileSystem(dir string) (*fileSystem, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	return &fileSystem{fd}, nil
}

func (f *fileSystem) close() { _ = unix.Close(f.fd) }

// What fsfreeze(8) asks the kernel (linux/fs.h).
const (
	ioctlFreeze = 0xc0045877 // FIFREEZE, _IOWR('X', 119, int)
	ioctlThaw   = 0xc0045878 // FITHAW, _IOWR('X', 120, int)
)

func (f *fileSystem) freeze() error {
	defer expedite()()
	return unix.IoctlSetInt(f.fd, ioctlFreeze, 0)
}

// expeditedFile is a switch of the kernel's (rcupdate.rcu_expedited in its kernel-parameters.txt). A freeze waits three times
// until no processor is at what began before; while it is on, the kernel does not wait until they happen to say so, which
// takes it a tick and more each time, but asks them.
const expeditedFile = "/sys/kernel/rcu_expedited"

// expedite switches it on and returns what switches it off. Without it, or if it stays on, all works as well.
func expedite() (end func()) {
	const off, on = "0\n", "1\n"
	if was, err := os.ReadFile(expeditedFile); err != nil || string(was) != off || setExpedited(on) != nil {
		return func() {}
	}
	return func() { _ = setExpedited(off) }
}

func setExpedited(value string) error { return os.WriteFile(expeditedFile, []byte(value), 0) }

func (f *fileSystem) thaw() error {
	err := unix.IoctlSetInt(f.fd, ioctlThaw, 0)
	if errors.Is(err, unix.EINVAL) {
		return errThawed
	}
	return err
}
