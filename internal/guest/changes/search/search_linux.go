package search

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/guest/changes/ext4"
	"github.com/calmenu/calmenu/internal/guest/changes/tally"
)

// search is one run.
type search struct {
	in      *bufio.Reader
	out     *bufio.Writer
	root    string // "/" but in tests
	top     int    // of the largest files are named
	repos   int    // are asked for commits
	commits string // how many are listed of each at most
	script  string // lists them
}

// gcPercent is by how much the memory in use may grow before it is looked what of it is not (runtime/debug).
const gcPercent = 1000

// Run is the verb. Its arguments are how many of the largest files are named, how many repositories are asked for commits,
// how many of each, and the script that lists these. The folder it is started in is the home.
func Run(ctx context.Context, args []string) error {
	// It ends within a second, and what it takes is bounded by the number of inodes: to collect it is not worth the time.
	debug.SetGCPercent(gcPercent)
	if len(args) != 4 {
		return errors.New("4 arguments are needed: files, repositories, commits, script")
	}
	s := search{
		in: bufio.NewReader(os.Stdin), out: bufio.NewWriter(os.Stdout), root: "/",
		commits: args[2], script: args[3],
	}
	var errTop, errRepos error
	s.top, errTop = strconv.Atoi(args[0])
	s.repos, errRepos = strconv.Atoi(args[1])
	if err := errors.Join(errTop, errRepos); err != nil {
		return err
	}
	return errors.Join(s.run(ctx), s.out.Flush())
}

// say prints a field.
func (s *search) say(letter byte, text string) {
	_ = s.out.WriteByte(letter)
	_, _ = s.out.WriteString(text)
	_ = s.out.WriteByte(0) // Flush tells whether it could
}

// run says what is so, or with the field u that it cannot be found out this way.
func (s *search) run(ctx context.Context) error {
	place, err := s.open()
	if err != nil {
		s.say('u', err.Error())
		return nil
	}
	defer place.close()
	s.say('h', place.homeDir)
	now := time.Now()
	s.say('c', fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond()))
	if err := s.out.Flush(); err != nil {
		return err
	}
	line, err := s.in.ReadSlice('\n') // of no more than the buffer
	if err != nil {
		return err
	}
	since, err := parseSince(string(line))
	if err != nil {
		return err
	}
	changed, err := place.table.Since(since)
	if err != nil {
		s.say('u', err.Error())
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the host holds the input open as long as it listens
		_, _ = io.Copy(io.Discard, s.in)
		cancel()
	}()
	list := &lister{ctx: ctx, place: place, max: s.commits, script: s.script, since: since}
	w := newWalk(place, changed, now, s.top, s.repos, list)
	w.run()
	s.tell(w)
	_, err = s.out.Write(list.rest(w.found.GitDirs, s.repos))
	s.say('z', "")
	return err
}

func (s *search) tell(w *walk) {
	for _, n := range []struct {
		name  string
		count tally.Count
	}{
		{"yours", w.found.Yours},
		{"git", w.found.Git},
		{"system", w.system.Found},
		{"caches", w.found.Caches.Plus(w.system.Caches)},
	} {
		s.say('n', fmt.Sprintf("%s %d %d %d", n.name, n.count.Files, n.count.Folders, n.count.Bytes))
	}
	for _, f := range w.found.Largest {
		s.say('t', fmt.Sprintf("%d %s", f.Bytes, f.Path))
	}
	for _, dir := range w.found.GitDirs {
		s.say('g', dir)
	}
	if w.missed.Load() {
		s.say('x', "1")
	} else {
		s.say('x', "0")
	}
}

// parseSince reads the host's line: an instant of this machine's clock in seconds with nine digits, and what else the
// script needs.
func parseSince(line string) (time.Time, error) {
	at, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	whole, frac, _ := strings.Cut(at, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	nanos, fracErr := strconv.ParseInt(frac, 10, 64)
	if err != nil || fracErr != nil || len(frac) != 9 || nanos < 0 {
		return time.Time{}, fmt.Errorf("the instant is %q", line)
	}
	return time.Unix(seconds, nanos), nil
}

// place is what is searched.
type place struct {
	homeDir        string
	homeFD, rootFD int
	homeInode      uint64
	dev            *os.File
	table          *ext4.Table
}

// open opens the home, which is the working directory, and the file system with it and the root.
func (s *search) open() (p *place, err error) {
	p = &place{homeFD: -1, rootFD: -1}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.homeDir, err = unix.Getwd(); err != nil {
		return p, fmt.Errorf("the home: %w", err)
	}
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	if p.rootFD, err = unix.Open(s.root, flags, 0); err != nil {
		return p, fmt.Errorf("the root: %w", err)
	}
	if p.homeFD, err = unix.Open(".", flags, 0); err != nil {
		return p, fmt.Errorf("the home: %w", err)
	}
	var root, home unix.Stat_t
	if err = errors.Join(unix.Fstat(p.rootFD, &root), unix.Fstat(p.homeFD, &home)); err != nil {
		return p, err
	}
	if root.Dev != home.Dev {
		return p, errors.New("the home has a file system of its own")
	}
	p.homeInode = home.Ino
	if p.dev, err = openDevice(root.Dev); err != nil {
		return p, err
	}
	p.table, err = ext4.Open(p.dev)
	return p, err
}

func (p *place) close() {
	for _, fd := range []int{p.homeFD, p.rootFD} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	if p.dev != nil {
		_ = p.dev.Close()
	}
}

// openDevice opens a file system's block device for reading.
func openDevice(number uint64) (*os.File, error) {
	name := fmt.Sprintf("%d:%d", unix.Major(number), unix.Minor(number))
	text, err := os.ReadFile(filepath.Join("/sys/dev/block", name, "uevent"))
	if err != nil {
		return nil, fmt.Errorf("the file system's device: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		dev, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME=")
		if !ok {
			continue
		}
		f, err := os.Open(filepath.Join("/dev", dev))
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Rdev != number || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			_ = f.Close()
			return nil, fmt.Errorf("/dev/%s is not the file system's device %s", dev, name)
		}
		return f, nil
	}
	return nil, fmt.Errorf("the file system's device %s has no name", name)
}

// lister has commits listed while the search goes on: git takes as long to start as hundreds of folders to be read.
type lister struct {
	ctx    context.Context
	place  *place
	max    string
	script string
	since  time.Time

	first []string // what the first run is asked
	out   bytes.Buffer
	done  chan struct{}
}

// begin starts listing the commits of the first repositories that are found.
func (l *lister) begin(dirs []string) {
	l.first, l.done = dirs, make(chan struct{})
	go func() {
		defer close(l.done)
		l.list(dirs)
	}()
}

// rest lists the commits of the others, no more than so many in all, and returns all fields.
func (l *lister) rest(dirs []string, most int) []byte {
	if l.done != nil {
		<-l.done
	}
	var others []string
	for _, dir := range dirs[:min(len(dirs), most)] {
		if len(l.first) == 0 || dir != l.first[0] {
			others = append(others, dir)
		}
	}
	if len(others) > 0 {
		l.list(others)
	}
	return l.out.Bytes()
}

// maxListed bounds what is kept of the lists of commits, in bytes.
const maxListed = 8 << 20

// list runs the script as the user who asked for the search: what it looks at is theirs, and this is root.
func (l *lister) list(dirs []string) {
	argv := append([]string{"-c", l.script, "sh", strconv.FormatInt(l.since.Unix(), 10), l.max}, dirs...)
	cmd := exec.CommandContext(l.ctx, "/bin/sh", argv...)
	cmd.Dir, cmd.Stdout = l.place.homeDir, &limited{to: &l.out, left: maxListed}
	// All of it ends with the search, though somebody's repository may hold it up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "HOME="+l.place.homeDir, "LC_ALL=C", "TZ=UTC0")
	uid, uidErr := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32)
	gid, gidErr := strconv.ParseUint(os.Getenv("SUDO_GID"), 10, 32)
	if uidErr == nil && gidErr == nil && os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	_ = cmd.Run() // what it could not list it says, or its end is missing
}

// limited takes so many bytes and drops the rest.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	take := b[:min(len(b), l.left)]
	l.left -= len(take)
	if _, err := l.to.Write(take); err != nil {
		return 0, err
	}
	return len(b), nil
}
