package sync

import (
	"context"
	"io/fs"
	"os"
	gosync "sync"
	"time"

	"github.com/calmenu/calmenu/internal/inspect"
)

func (e *engine) newLander(ctx context.Context) *lander {
	built := gosync.OnceValue(func() Build {
		if e.o.Built == nil {
			return Build{}
		}
		return e.o.Built(ctx)
	})
	return &lander{dest: e.dest, o: e.o, now: time.Now, dirs: map[string]bool{}, built: built}
}

// look tells what of an artifact would run by itself later. It is looked at where it was received, which no guest
// reaches, and before it has its name.
func look(dest *os.Root, at, name string, bundle bool) []string {
	if bundle {
		tree, err := fs.Sub(dest.FS(), at)
		if err != nil {
			return []string{"could not be looked at"}
		}
		return inspect.Bundle(name, tree, inspect.Limits{})
	}
	f, err := dest.Open(at)
	if err != nil {
		return []string{"could not be looked at"}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return []string{"could not be looked at"}
	}
	return inspect.File(name, f, info.Size(), inspect.Limits{})
}
