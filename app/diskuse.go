package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/calmenu/calmenu/internal/snapshot"
)

// DiskUse is what CALMenu's machines hold of the host's disk, and what the disk has left. Sizes are in bytes, as far as
// the drivers can tell: where machines share blocks, deleting one frees less than it holds.
type DiskUse struct {
	Workspaces []WorkspaceDisk `json:"workspaces"`
	TotalBytes int64           `json:"total_bytes"` // of all machines with their snapshots
	FreeBytes  int64           `json:"free_bytes"`  // of the disk that CAL_HOME is on
	SizeBytes  int64           `json:"size_bytes"`  // of that disk
	Warning    string          `json:"warning,omitempty"`
}

// WorkspaceDisk is what one workspace holds.
type WorkspaceDisk struct {
	Name          string         `json:"name"`
	Bytes         int64          `json:"bytes"`          // of its disk, layers and memory, snapshots included
	SnapshotBytes int64          `json:"snapshot_bytes"` // what deleting each of its snapshots frees, summed
	Suspended     bool           `json:"suspended"`      // saved memory is part of it
	Snapshots     []SnapshotDisk `json:"snapshots"`      // newest first
}

// SnapshotDisk is what one snapshot holds.
type SnapshotDisk struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Kind       snapshot.Kind `json:"kind"`
	Warm       bool          `json:"warm"`
	FreesBytes int64         `json:"frees_bytes"` // what deleting it frees
}

// DiskUse measures all workspaces.
func (a *App) DiskUse(ctx context.Context) (DiskUse, error) {
	u := DiskUse{Workspaces: []WorkspaceDisk{}}
	var err error
	if u.FreeBytes, u.SizeBytes, err = hostDisk(a.Home.Dir); err != nil {
		return u, err
	}
	machines, err := a.Driver.Machines(ctx)
	if err != nil {
		return u, fmt.Errorf("listing machines: %w", err)
	}
	names, err := a.Config().Workspaces()
	if err != nil {
		return u, err
	}
	for _, m := range machines {
		if !slices.Contains(names, m.Name) {
			continue
		}
		list, err := a.catalog(m.Name).List(ctx)
		if err != nil {
			return u, err
		}
		w := WorkspaceDisk{Name: m.Name, Bytes: m.DiskBytes, Suspended: m.Suspended, Snapshots: []SnapshotDisk{}}
		for _, s := range list {
			w.Snapshots = append(w.Snapshots, SnapshotDisk{
				ID: s.ID, Name: s.Name, Kind: s.Kind, Warm: s.Warm, FreesBytes: s.SizeBytes,
			})
			w.SnapshotBytes += s.SizeBytes
		}
		u.TotalBytes += m.DiskBytes
		u.Workspaces = append(u.Workspaces, w)
	}
	u.Warning = diskShort(u.FreeBytes, a.warnFree())
	return u, nil
}

// warnFree is how many bytes free are too few; 0 is never.
func (a *App) warnFree() int64 { return int64(a.Config().Snapshots.WarnFreeGiB) << 30 }

// HostFree returns how many bytes of the host's disk are free.
func (a *App) HostFree() (int64, error) {
	free, _, err := hostDisk(a.Home.Dir)
	return free, err
}

func hostDisk(dir string) (free, size int64, err error) {
	var st unix.Statfs_t
	for {
		if err = unix.Statfs(dir, &st); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the disk of %s: %w", dir, err)
	}
	block := int64(st.Bsize)
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil
}

// diskShort says that the host's disk is about to be full; empty while it is not.
func diskShort(free, limit int64) string {
	if free >= limit {
		return ""
	}
	return fmt.Sprintf("the host's disk has %s left", humanize.IBytes(uint64(max(0, free))))
}

// DiskWarning says in one short line that the host's disk is about to be full, or will soon be as it goes on; empty while
// all is well. It costs one system call, and may be asked at each look at the workspaces.
func (a *App) DiskWarning() string {
	limit := a.warnFree()
	if limit == 0 {
		return ""
	}
	free, err := a.HostFree()
	if err != nil {
		a.Log.Warn().Err(err).Msg("looking at the host's disk")
		return ""
	}
	return diskWatches.of(a.Home.Dir).look(time.Now(), free, limit)
}

// DiskWarningToTell returns a warning that nobody has been told of: true once for each time that one begins, in this
// process. Who asks posts it as a notification.
func (a *App) DiskWarningToTell() (string, bool) {
	warning := a.DiskWarning()
	return warning, diskWatches.of(a.Home.Dir).tell()
}

// diskWatches are the watches of this process, one for each home.
var diskWatches diskWatchSet

type diskWatchSet struct {
	mu     sync.Mutex // guards byHome
	byHome map[string]*diskWatch
}

func (s *diskWatchSet) of(home string) *diskWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.byHome[home]
	if w == nil {
		w = &diskWatch{}
		if s.byHome == nil {
			s.byHome = map[string]*diskWatch{}
		}
		s.byHome[home] = w
	}
	return w
}

const (
	diskLookback = 10 * time.Minute // how far the rate of filling is taken from
	diskLeast    = 2 * time.Minute  // less says nothing of it
	diskSoon     = 15 * time.Minute // a disk that is full within that is worth a word
	diskSamples  = 30               // kept of diskLookback
)

// diskWatch decides when to warn. It warns until a tenth more is free than is asked for: a disk at the limit must not
// make a notification of every megabyte.
type diskWatch struct {
	mu      sync.Mutex // guards what follows
	samples []diskSample
	warned  bool
	told    bool
}

type diskSample struct {
	at   time.Time
	free int64
}

func (w *diskWatch) look(now time.Time, free, limit int64) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = slices.DeleteFunc(w.samples, func(s diskSample) bool {
		return now.Sub(s.at) > diskLookback || s.at.After(now)
	})
	if n := len(w.samples); n == 0 || now.Sub(w.samples[n-1].at) >= diskLookback/diskSamples {
		w.samples = append(w.samples, diskSample{now, free})
	}
	until := limit
	if w.warned {
		until += limit / 10
	}
	warning := diskShort(free, until)
	if warning == "" {
		warning = w.soon(now, free)
	}
	w.warned = warning != ""
	w.told = w.told && w.warned
	return warning
}

// tell is true once while a warning lasts.
func (w *diskWatch) tell() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.warned || w.told {
		return false
	}
	w.told = true
	return true
}

// soon says when the disk is full if it goes on filling as fast as it did.
func (w *diskWatch) soon(now time.Time, free int64) string {
	first := w.samples[0]
	took, used := now.Sub(first.at), first.free-free
	if took < diskLeast || used <= 0 {
		return ""
	}
	left := time.Duration(float64(took) * (float64(free) / float64(used)))
	if left > diskSoon {
		return ""
	}
	return fmt.Sprintf("the host's disk has %s left, and is full in %d minutes if it goes on like this",
		humanize.IBytes(uint64(max(0, free))), max(1, int(left.Minutes())))
}
