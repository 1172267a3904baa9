package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// shareProblem says why no folder can be shared here, or "". virtiofsd (of QEMU 7.2) works as root only, and locks itself
// into the folder by namespaces.
var shareProblem = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "virtiofsd shares folders only when it is run as root"
	}
	if _, err := os.Stat(virtiofsd); err != nil {
		return virtiofsd + " is missing (package qemu-system-common)"
	}
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		return "virtiofsd cannot lock itself into a folder here: no namespaces: " + err.Error()
	}
	return ""
})

// serveShare starts the program that serves a folder to a machine about to be started, which is to end it should the
// start fail. It ends by itself with the machine: its only connection is QEMU's, and its socket is ours, so that it makes
// none. An empty folder starts nothing.
//
// What the guest may do with it: make, change and remove files, directories and links in the folder, with owners and modes
// of its choice; no devices (mknod), no capabilities of files (setfcap).
func (m *machine) serveShare(dir string) (end func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	if why := shareProblem(); why != "" {
		return nil, hint.Wrap(fmt.Errorf("sharing a folder: %w: %s", vm.ErrUnsupported, why), "Leave outbox.transport at auto.")
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() || !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("sharing %s: %w", dir, errors.Join(err, fs.ErrInvalid))
	}
	socket, err := m.shareSocket()
	if err != nil {
		return nil, fmt.Errorf("sharing a folder: %w", err)
	}
	defer socket.Close()
	log, err := os.OpenFile(filepath.Join(m.dir, shareLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("sharing a folder: %w", err)
	}
	defer log.Close()
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("sharing a folder: %w", err)
	}
	cmd := exec.Command(virtiofsd, "--fd=3", "-o", "source="+dir, "-o", "sandbox=namespace", "-o", "modcaps=-mknod:-setfcap",
		"-o", "no_xattr", "-o", "log_level=warn", "--rlimit-nofile="+strconv.FormatUint(min(files.Max, 1_000_000), 10))
	cmd.Dir, cmd.Env, cmd.ExtraFiles = "/", toolEnv(os.Environ()), []*os.File{socket}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("sharing a folder: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return func() {
		_ = cmd.Process.Kill()
		<-ended
	}, nil
}

// shareSocket listens where the machine's QEMU connects to.
func (m *machine) shareSocket() (*os.File, error) {
	run, err := os.Open(filepath.Join(m.dir, runDir))
	if err != nil {
		return nil, err
	}
	defer run.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketAddress(run, shareSocket)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	l.SetUnlinkOnClose(false)
	if err := m.acc.own(filepath.Join(m.dir, runDir, shareSocket)); err != nil {
		return nil, err
	}
	return l.File()
}

// findShare finds the virtiofsd that serves a machine's process: the one whose socket's other end is the machine's. What
// the kernel says of both counts, whoever started them.
func findShare(qemu int) (sharing, bool) {
	theirs, err := socketInodes(qemu)
	if err != nil {
		return sharing{}, false
	}
	peers, err := unixPeers()
	if err != nil {
		return sharing{}, false
	}
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return sharing{}, false
	}
	for _, exe := range all {
		if target, err := os.Readlink(exe); err != nil || filepath.Base(target) != filepath.Base(virtiofsd) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(exe)))
		if err != nil {
			continue
		}
		own, err := socketInodes(pid)
		if err != nil {
			continue
		}
		for inode := range own {
			if !theirs[peers[inode]] {
				continue
			}
			p, err := processFacts(pid)
			uid, uidErr := effectiveUID(pid)
			if source := shareSource(p.argv); err == nil && uidErr == nil && source != "" {
				return sharing{source: source, root: uid == 0, argv: p.argv}, true
			}
		}
	}
	return sharing{}, false
}

// Sizes and offsets of sock_diag(7): unix_diag_req and unix_diag_msg.
const (
	unixDiagRequestSize = 24
	unixDiagMessageSize = 16
	unixDiagShowPeer    = 4 // UDIAG_SHOW_PEER
	unixDiagPeer        = 2 // UNIX_DIAG_PEER
)

// unixPeers maps the inode of each connected Unix socket to that of its other end.
func unixPeers() (map[string]string, error) {
	request := make([]byte, unixDiagRequestSize)
	request[0] = unix.AF_UNIX
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0)) // states
	binary.NativeEndian.PutUint32(request[12:], unixDiagShowPeer)
	peers := map[string]string{}
	err := dumpSockets(request, func(m []byte) {
		if len(m) < unixDiagMessageSize {
			return
		}
		inode := binary.NativeEndian.Uint32(m[4:])
		for attr := m[unixDiagMessageSize:]; len(attr) >= unix.SizeofRtAttr; {
			size, kind := int(binary.NativeEndian.Uint16(attr)), binary.NativeEndian.Uint16(attr[2:])
			if size < unix.SizeofRtAttr || size > len(attr) {
				return
			}
			if kind == unixDiagPeer && size >= unix.SizeofRtAttr+4 {
				peer := binary.NativeEndian.Uint32(attr[unix.SizeofRtAttr:])
				peers[strconv.FormatUint(uint64(inode), 10)] = strconv.FormatUint(uint64(peer), 10)
			}
			attr = attr[min(len(attr), (size+3)&^3):]
		}
	})
	return peers, err
}
