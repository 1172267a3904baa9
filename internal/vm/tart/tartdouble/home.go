package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// script is TART_HOME/double.json: what the world around tart does. Times are seconds, stretched by TART_DOUBLE_SCALE.
type script struct {
	Version string `json:"version"` // of tart; empty is 2.32.1
	// DarwinLimit is how many macOS guests may run at once; 0 is 2. ForeignVMs run in other programs.
	DarwinLimit int `json:"darwin_limit"`
	ForeignVMs  int `json:"foreign_vms"`
	// Registry holds the images that can be pulled, by full name; RegistryDown makes every request fail.
	Registry     map[string]image `json:"registry"`
	RegistryDown bool             `json:"registry_down"`
	// Guests are by the machine's name; "*" is all others.
	Guests map[string]guest `json:"guests"`
}

type image struct {
	OS       string  `json:"os"`
	DiskGB   int     `json:"disk_gb"`
	StepTime float64 `json:"step_time"` // between two lines of progress
	Fails    string  `json:"fails"`     // the error that ends the download half-way
}

type guest struct {
	LockDelay    float64 `json:"lock_delay"`    // from the start of `run` until it owns the machine
	BootDelay    float64 `json:"boot_delay"`    // until the guest answers
	IP           string  `json:"ip"`            // empty: the guest never gets one
	IPDelay      float64 `json:"ip_delay"`      // from the start of `run` to the lease
	NoAgent      bool    `json:"no_agent"`      // the guest agent never answers
	ExitAfter    float64 `json:"exit_after"`    // the guest powers itself off
	ExitError    string  `json:"exit_error"`    // ... or dies with this error
	IgnoreSIGINT bool    `json:"ignore_sigint"` // `run` hangs on its hard stop
	StartError   string  `json:"start_error"`   // the virtualization framework's refusal
	RestoreError string  `json:"restore_error"` // ... to restore a memory, which stays saved
	ResumeError  string  `json:"resume_error"`  // ... to go on from one, which is gone by then
	SuspendError string  `json:"suspend_error"` // ... to save one, of which a part is written by then
	AgentDrops   float64 `json:"agent_drops"`   // how long the guest agent serves each call before it dies
	NCTarget     string  `json:"nc_target"`     // where `exec NAME nc 127.0.0.1 22` leads; empty: the guest's own SSH
}

type home struct {
	dir    string
	script script
}

func openHome() (*home, error) {
	dir := os.Getenv("TART_HOME")
	if dir == "" {
		user, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(user, ".tart")
	}
	for _, sub := range []string{"vms", "cache/OCIs", "cache/IPSWs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, failA(1, "TART_HOME is invalid: %v", err)
		}
	}
	h := &home{dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, "double.json"))
	if err == nil {
		err = json.Unmarshal(data, &h.script)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading double.json: %w", err)
	}
	if h.script.Version == "" {
		h.script.Version = "2.32.1"
	}
	if h.script.DarwinLimit == 0 {
		h.script.DarwinLimit = 2
	}
	return h, nil
}

func (h *home) guest(name string) guest {
	if g, ok := h.script.Guests[name]; ok {
		return g
	}
	return h.script.Guests["*"]
}

func (h *home) path(elem ...string) string {
	return filepath.Join(append([]string{h.dir}, elem...)...)
}

// seconds is a time as long as the test wants it.
func seconds(s float64) time.Duration {
	scale, err := strconv.ParseFloat(os.Getenv("TART_DOUBLE_SCALE"), 64)
	if err != nil {
		scale = 1
	}
	return time.Duration(s * scale * float64(time.Second))
}

// machine is a VM directory.
type machine struct {
	name, dir string
}

type config struct {
	Version       int     `json:"version"`
	OS            string  `json:"os"`
	Arch          string  `json:"arch"`
	CPUCountMin   int     `json:"cpuCountMin"`
	CPUCount      int     `json:"cpuCount"`
	MemorySizeMin int64   `json:"memorySizeMin"`
	MemorySize    int64   `json:"memorySize"`
	MACAddress    string  `json:"macAddress"`
	ECID          string  `json:"ecid,omitempty"` // the machine's identity
	Display       display `json:"display"`
	DisplayRefit  *bool   `json:"displayRefit,omitempty"`
	DiskFormat    string  `json:"diskFormat"`
}

type display struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

func newConfig(os string) config {
	c := config{
		Version: 1, OS: os, Arch: "arm64", CPUCountMin: 4, CPUCount: 4, MemorySizeMin: 4 << 30, MemorySize: 4 << 30,
		MACAddress: randomMAC(), Display: display{1024, 768}, DiskFormat: "raw",
	}
	if os == "darwin" {
		c.ECID = randomECID()
	}
	if os == "linux" {
		c.CPUCountMin, c.MemorySizeMin = 1, 512<<20
	}
	return c
}

func randomMAC() string {
	b := make([]byte, 5)
	_, _ = rand.Read(b)
	return fmt.Sprintf("5a:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4])
}

func randomECID() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

var bundleFiles = []string{"config.json", "disk.img", "nvram.bin"}

func (m machine) file(name string) string { return filepath.Join(m.dir, name) }

// complete tells whether all files are there; a disk can be a layer over a shared one (section 13).
func (m machine) complete() bool {
	return !slices.ContainsFunc(bundleFiles, func(f string) bool {
		return !exists(m.file(f)) && (f != "disk.img" || !exists(m.file(overlay)))
	})
}

const overlay = "overlay.asif"

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// open returns the named local machine.
func (h *home) open(name string) (machine, error) {
	m := machine{name, h.path("vms", name)}
	if !exists(m.dir) {
		return m, noSuchVM(name)
	}
	if !m.complete() {
		return m, failA(1, "VM is missing some of its files (config.json, disk.img or nvram.bin)")
	}
	return m, nil
}

// machines lists the complete local machines by name.
func (h *home) machines() ([]machine, error) {
	entries, err := os.ReadDir(h.path("vms"))
	if err != nil {
		return nil, err
	}
	var all []machine
	for _, e := range entries {
		if m := (machine{e.Name(), h.path("vms", e.Name())}); m.complete() {
			all = append(all, m)
		}
	}
	return all, nil
}

func (m machine) config() (config, error) {
	var c config
	data, err := os.ReadFile(m.file("config.json"))
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, failC("dataCorrupted(Swift.DecodingError.Context(debugDescription: %q))", err.Error())
	}
	return c, nil
}

func (m machine) save(c config) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(m.file("config.json"), data, 0o644)
}

// holder is the process that has the machine's lock, or 0. Never call it in that process: closing the file ends the
// lock.
func (m machine) holder() int {
	f, err := os.Open(m.file("config.json"))
	if err != nil {
		return 0
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// tryLock takes the machine's lock for as long as the returned file stays open.
func (m machine) tryLock() (*os.File, error) {
	f, err := os.OpenFile(m.file("config.json"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (m machine) suspended() bool { return exists(m.file(savedState)) }

func (m machine) state() string {
	switch {
	case m.holder() != 0:
		return "running"
	case m.suspended():
		return "suspended"
	}
	return "stopped"
}

// lockDir takes the exclusive flock of a directory; it waits without a word, or fails if it must not wait.
func lockDir(dir string, wait bool) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// collectGarbage removes every entry of tmp that nobody has locked (row 65).
func (h *home) collectGarbage() error {
	entries, err := os.ReadDir(h.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		lock, err := lockDir(h.path("tmp", e.Name()), false)
		if err != nil {
			continue
		}
		err = os.RemoveAll(h.path("tmp", e.Name()))
		lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// tempDir makes a locked directory below tmp.
func (h *home) tempDir() (dir string, lock *os.File, err error) {
	dir = h.path("tmp", strings.ToUpper(rand.Text()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", nil, err
	}
	lock, err = lockDir(dir, false)
	return dir, lock, err
}
