//go:build linux

package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/calmenu/calmenu/internal/agent"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/host"
	"github.com/calmenu/calmenu/internal/journal"
	"github.com/calmenu/calmenu/internal/snapshot"
	"github.com/calmenu/calmenu/internal/vm"
)

// faultDriver is a real driver with a machine that never ran: its disks are files, which a test makes and reads itself.
type faultDriver struct {
	open func(dir string, at func(step string) error) (vm.Driver, error)
	// machine makes the stopped machine demo, write puts a byte on its disk, disks finds what its disk holds now and in
	// each snapshot, by identifier.
	machine func(t *testing.T, dir string, d vm.Driver)
	write   func(t *testing.T, dir string, content byte)
	disks   func(dir string) (now string, by map[string]string, err error)
	creates bool // machines can be created here: qemu's need an image that takes a minute to build
}

var faultDrivers = map[string]faultDriver{
	"qemu": {openQEMU, makeQEMU, writeQEMU, disksOfQEMU, false},
	"tart": {openTart, makeTart, writeTart, disksOfTart, true},
}

// openFaulty opens an App on a directory of its own, as a process with that CAL_HOME would. at is told of each step.
func openFaulty(driver, dir string, at func(step string) error) (*App, error) {
	home := config.Home{Dir: filepath.Join(dir, "cal")}
	if err := home.Ensure(); err != nil {
		return nil, err
	}
	j, err := journal.Open(home.JournalDir())
	if err != nil {
		return nil, err
	}
	inDriver := func(string) error { return nil }
	if at != nil {
		inDriver = func(step string) error { return at(driver + " " + step) }
	}
	d, err := faultDrivers[driver].open(dir, inDriver)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Load(home, os.Getenv)
	if err != nil {
		return nil, err
	}
	agents, err := knownAgents()
	if err != nil {
		return nil, err
	}
	a := &App{Home: home, Journal: j, Driver: d, Rhythm: host.NewRhythm(), steps: at}
	a.settings.Store(&settings{config: cfg, agents: agents})
	return a, a.openLog()
}

// knownAgents are those of a configuration that says nothing, read once: to read them takes longer than all else.
var knownAgents = sync.OnceValues(func() (agent.List, error) { return agent.Catalogue(&config.Config{}) })

func reopen(t *testing.T, driver, dir string) *App {
	t.Helper()
	a, err := openFaulty(driver, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// faultModel is a workspace with the snapshots base (A), one (B) and two (C), the latter taken by sessions, below its
// present state (D); worlds are copies of it.
type faultModel struct {
	driver, dir string
	letters     map[string]string // by what identifies a disk's content
}

var faultsBefore = []string{"base manual A", "now D", "one session B", "two session C"}

func newFaultModel(t *testing.T, driver string) *faultModel {
	t.Helper()
	m := &faultModel{driver: driver, dir: plainTempDir(t), letters: map[string]string{}}
	a := reopen(t, driver, m.dir)
	fd := faultDrivers[driver]
	if err := a.Config().CreateWorkspace("demo", nil); err != nil {
		t.Fatal(err)
	}
	fd.machine(t, m.dir, a.Driver)
	for i, s := range []snapshot.Snapshot{
		{Name: "base"}, {Name: "one", Kind: snapshot.Session}, {Name: "two", Kind: snapshot.Session}, {},
	} {
		fd.write(t, m.dir, byte('A'+i))
		now, _, err := fd.disks(m.dir)
		if err != nil {
			t.Fatal(err)
		}
		m.letters[now] = string(rune('A' + i))
		if s.Name == "" {
			break
		}
		if _, err := a.TakeSnapshot(t.Context(), "demo", s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.state(t, a, m.dir); !slices.Equal(got, faultsBefore) {
		t.Fatalf("the model is %q", got)
	}
	return m
}

// plainTempDir is a directory whose name any program takes, and in which another account may reach what it is given.
func plainTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "calfaults")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// copyTo puts a copy of the model into a directory, in place of what is there.
func (m *faultModel) copyTo(t *testing.T, dir string) {
	t.Helper()
	old, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", m.dir+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// state is the workspace as the catalogue names it and as the disks are, sorted. A snapshot that only one of the two
// knows is an error.
func (m *faultModel) state(t *testing.T, a *App, dir string) []string {
	t.Helper()
	if _, err := a.Workspace("demo"); err != nil {
		return []string{"gone"}
	}
	list, err := a.Snapshots(t.Context(), "demo")
	if errors.Is(err, vm.ErrNotFound) {
		return []string{"no machine"}
	}
	if err != nil {
		t.Fatal(err)
	}
	now, by, err := faultDrivers[m.driver].disks(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"now " + m.letters[now]}
	for _, s := range list {
		name := s.Name
		if s.Kind == snapshot.Undo {
			name = "before"
		}
		content, ok := by[s.ID]
		if !ok {
			t.Errorf("snapshot %q has no disk", s.Name)
		}
		all = append(all, fmt.Sprintf("%s %s %s", name, s.Kind, m.letters[content]))
		delete(by, s.ID)
	}
	for id := range by {
		t.Errorf("there is a disk of %s, which is no snapshot", id)
	}
	if _, err := a.Workspace("fresh"); err == nil {
		if _, err := a.Driver.Machine(t.Context(), "fresh"); err == nil {
			all = append(all, "fresh")
		}
	}
	slices.Sort(all)
	return all
}

// stray is what no finished operation leaves: machines half made or half deleted, journals, files to be renamed.
var stray = regexp.MustCompile(`\.new-|\.deleted-|\.merge$|_tmp_|\.journal\.json|^\..*\.json\.|^\.vm\.yaml`)

func wantNoStrays(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && stray.MatchString(e.Name()) {
			t.Errorf("left over: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
