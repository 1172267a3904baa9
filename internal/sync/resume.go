package sync

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// What has come of a large file when a transfer is cut stays in staging, under a name made of the artifact's and of its
// source: the next pass goes on from there, if the guest's file still begins that way.
const (
	partPrefix  = "part-"
	resumeAbove = 4 << 20 // bytes; what is smaller is sent again
	maxParts    = 8       // files kept that way
)

func partKey(it *Item) string {
	sum := sha256.Sum256([]byte(it.Source + "\x00" + it.Name))
	return hex.EncodeToString(sum[:16])
}

func (s *staged) resumable() bool { return !s.Bundle && s.Size > resumeAbove }

// Resume returns how many bytes of a file have come before, and their SHA-256; 0 where there are none.
func (s *Staging) Resume(item, file int) (from int64, sum [sha256.Size]byte, err error) {
	it := &s.items[item]
	if !it.resumable() {
		return 0, sum, nil
	}
	f, err := s.dir.Open(it.place(it.Files[file].Name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, sum, nil
	}
	if err != nil {
		return 0, sum, atHost(err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, it.Size))
	if err != nil {
		return 0, sum, atHost(err)
	}
	it.prefix, it.prefixHash = n, h
	return n, [sha256.Size]byte(h.Sum(nil)), nil
}

// Continue is Create after what Resume has found.
func (s *Staging) Continue(item, file int) (*Staged, error) {
	it := &s.items[item]
	at := it.place(it.Files[file].Name)
	f, err := s.dir.OpenFile(at, os.O_RDWR, 0)
	if err != nil {
		return nil, atHost(err)
	}
	if err := errors.Join(f.Truncate(it.prefix), seekTo(f, it.prefix)); err != nil {
		return nil, atHost(errors.Join(err, f.Close()))
	}
	s.tell(path.Base(it.Name), it.prefix, false)
	return &Staged{
		of: s, item: it, file: file, entry: &it.Files[file], at: at, f: f, size: it.prefix, hash: it.prefixHash,
	}, nil
}

func seekTo(f *os.File, at int64) error {
	_, err := f.Seek(at, io.SeekStart)
	return err
}

// Suspend puts a file away that has not come whole.
func (f *Staged) Suspend() error {
	if !f.item.resumable() {
		return f.Drop()
	}
	if err := f.f.Close(); err != nil {
		return atHost(err)
	}
	return nil
}

// tidyStaging removes what passes have left there, but for the newest large files that may go on.
func tidyStaging(dest *os.Root) error {
	info, err := dest.Lstat(stagingDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return dest.RemoveAll(stagingDir)
	}
	entries, err := fs.ReadDir(dest.FS(), stagingDir)
	if err != nil {
		return err
	}
	var parts []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasPrefix(e.Name(), partPrefix) {
			parts = append(parts, info)
			continue
		}
		if err := dest.RemoveAll(path.Join(stagingDir, e.Name())); err != nil {
			return err
		}
	}
	slices.SortFunc(parts, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, p := range parts[min(len(parts), maxParts):] {
		if err := dest.Remove(path.Join(stagingDir, p.Name())); err != nil {
			return err
		}
	}
	if len(parts) == 0 {
		return dest.Remove(stagingDir)
	}
	return nil
}
