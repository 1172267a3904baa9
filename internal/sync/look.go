package sync

import (
	"io/fs"
	"os"

	"github.com/calmenu/calmenu/internal/inspect"
)

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
