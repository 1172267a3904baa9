package sync

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// refusal is an error that concerns one artifact and none of the others.
type refusal string

func (r refusal) Error() string { return string(r) }

// lander gives staged items their final names.
type lander struct {
	dest *os.Root
	o    Options
	now  func() time.Time
	dirs map[string]bool // directories of the host known to be none of links
	// built tells what the guest was at work on.
	built func() Build
}

// land gives a staged item its name. before is what is known about the name; the zero record if nothing is. It reports
// whether the host had the very same content there already, which is then left as it is.
func (l *lander) land(s *staged, before record) (a Artifact, same bool, err error) {
	defer func() {
		if reason := aboutTheName(err); reason != "" {
			err = refusal(reason)
		}
		if err != nil {
			_ = l.dest.RemoveAll(s.at)
		}
	}()
	a = Artifact{
		Name: s.Name, Path: filepath.Join(l.o.Dest, filepath.FromSlash(s.Name)), SHA256: s.digest(), Size: s.Size,
		LandedAt: l.now().UTC(), Workspace: l.o.Workspace, Agent: l.o.Agent, Version: before.Version + 1, Bundle: s.Bundle,
	}
	if info, err := l.dest.Lstat(s.at); err != nil {
		return a, false, err
	} else if a.Mode, a.ModTime = info.Mode().Perm(), info.ModTime().UTC(); s.Bundle {
		a.ModTime = newest(s.Files)
	}
	if err := l.makeDirs(path.Dir(s.Name)); err != nil {
		return a, false, err
	}
	there, err := l.dest.Lstat(s.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return a, false, err
	case l.holds(s.Name, there, a):
		a.Version = max(before.Version, 1)
		if a.Mode&0o100 != 0 && there.Mode()&0o100 == 0 && !a.Bundle {
			err = l.dest.Chmod(s.Name, a.Mode)
		}
		return a, true, errors.Join(err, l.dest.RemoveAll(s.at))
	default:
		version, err := l.setAside(s.Name, there, max(before.Version, 1), !s.Bundle)
		if err != nil {
			return a, false, err
		}
		a.Version = version + 1
	}
	a.Warnings = look(l.dest, s.at, s.Name, s.Bundle)
	b := l.built()
	a.Origin, a.Repository, a.Commit = l.o.Origin, b.Repository, b.Commit
	if err := l.dest.Rename(s.at, s.Name); err != nil {
		return a, false, err
	}
	l.prune(s.Name, a.Version)
	return a, false, nil
}

// aboutTheName tells the errors that another name would not have met.
func aboutTheName(err error) string {
	for _, e := range []syscall.Errno{syscall.EILSEQ, syscall.ENAMETOOLONG, syscall.EINVAL} {
		if errors.Is(err, e) {
			return "cannot be a name on the host: " + e.Error()
		}
	}
	return ""
}

// makeDirs makes a directory and those above it. A link on the way is never followed; a file that has landed under a
// name that is now a directory's is set aside.
func (l *lander) makeDirs(dir string) error {
	if dir == "." || l.dirs[dir] {
		return nil
	}
	if err := l.makeDirs(path.Dir(dir)); err != nil {
		return err
	}
	info, err := l.dest.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = l.dest.Mkdir(dir, 0o755)
	case err != nil:
	case info.Mode()&fs.ModeSymlink != 0:
		return refusal(fmt.Sprintf("%s on the host is a symbolic link, which is not followed", display(dir)))
	case !info.IsDir() && strings.HasPrefix(dir+"/", versionsDir+"/"):
		return refusal(fmt.Sprintf("%s on the host is not a directory", display(dir)))
	case !info.IsDir():
		if _, err = l.setAside(dir, info, 1, false); err == nil {
			err = l.dest.Mkdir(dir, 0o755)
		}
	}
	if err == nil {
		l.dirs[dir] = true
	}
	return err
}

// setAside keeps what has a name now among the versions, under the first free number from version on, and returns that.
// A file that a file is about to replace keeps its name until then: the name is there at every instant.
func (l *lander) setAside(name string, there fs.FileInfo, version int, byFile bool) (int, error) {
	if err := l.makeDirs(path.Dir(versionName(name, version))); err != nil {
		return 0, err
	}
	for ; ; version++ {
		to := versionName(name, version)
		kept, err := l.dest.Lstat(to)
		switch {
		case err == nil && byFile && os.SameFile(kept, there):
			return version, nil // by a pass that was killed before it came to the rename
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return 0, err
		}
		if byFile && there.Mode().IsRegular() {
			if err := l.dest.Link(name, to); err == nil {
				return version, nil
			}
		}
		if there.IsDir() {
			clear(l.dirs)
		}
		return version, l.dest.Rename(name, to)
	}
}

// versionName is where a version of a name is kept. It always ends in a number, and no directory on the way does: the
// versions of a file "a" never meet those of what lies in a directory "a.1".
func versionName(name string, version int) string {
	dirs := strings.Split(path.Dir(name), "/")
	for i, d := range dirs {
		if ext := path.Ext(d); len(ext) > 1 && strings.Trim(ext[1:], "0123456789") == "" {
			dirs[i] = d + ".dir"
		}
	}
	return fmt.Sprintf("%s.%d", path.Join(versionsDir, path.Join(dirs...), path.Base(name)), version)
}

// prune drops the versions of a name beyond those that are kept. What cannot be dropped now is dropped another time.
func (l *lander) prune(name string, current int) {
	if l.o.KeepVersions < 0 {
		return
	}
	for v := current - 1 - l.o.KeepVersions; v > 0; v-- {
		if _, err := l.dest.Lstat(versionName(name, v)); err != nil {
			return
		}
		_ = l.dest.RemoveAll(versionName(name, v))
	}
}

// holds tells whether a name of the host has an artifact's content.
func (l *lander) holds(name string, there fs.FileInfo, a Artifact) bool {
	if a.Bundle != there.IsDir() || !a.Bundle && (!there.Mode().IsRegular() || there.Size() != a.Size) {
		return false
	}
	sum, err := digestOf(l.dest, name, a.Bundle)
	return err == nil && sum == a.SHA256
}

// digest is the SHA-256 of a staged item's content.
func (s *staged) digest() string {
	if s.sum != "" {
		return s.sum
	}
	if !s.Bundle {
		return s.sums[0]
	}
	var lines []string
	for i, sum := range s.sums {
		lines = append(lines, bundleLine(strings.TrimPrefix(s.Files[i].Name, s.Name+"/"), sum))
	}
	for _, d := range s.Dirs {
		lines = append(lines, bundleLine(strings.TrimPrefix(strings.TrimPrefix(d, s.Name), "/"), "directory"))
	}
	return bundleDigest(lines)
}

func bundleLine(name, sum string) string { return sum + "  " + name + "\n" }

func bundleDigest(lines []string) string {
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:])
}

// digestOf computes the digest of a file or bundle of the host.
func digestOf(root *os.Root, name string, bundle bool) (string, error) {
	if !bundle {
		return fileDigest(root, name)
	}
	var lines []string
	err := fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below := strings.TrimPrefix(strings.TrimPrefix(p, name), "/")
		switch {
		case d.IsDir():
			lines = append(lines, bundleLine(below, "directory"))
			return nil
		case d.Type()&fs.ModeSymlink != 0: // of what was signed here
			target, err := root.Readlink(p)
			lines = append(lines, bundleLine(below, "link "+target))
			return err
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a file", display(p))
		}
		sum, err := fileDigest(root, p)
		lines = append(lines, bundleLine(below, sum))
		return err
	})
	if err != nil {
		return "", err
	}
	return bundleDigest(lines), nil
}

func fileDigest(root *os.Root, name string) (string, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file", display(name))
	}
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func newest(files []Entry) time.Time {
	var t time.Time
	for _, e := range files {
		if m := e.MTime.Time(); m.After(t) {
			t = m
		}
	}
	return t.UTC()
}

// measure counts what a destination holds. Links are not followed.
func measure(dest *os.Root) (usage, error) {
	var u usage
	err := fs.WalkDir(dest.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone meanwhile
		case err != nil:
			return err
		case p == stagingDir:
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		u.Files++
		u.Bytes += info.Size()
		return nil
	})
	return u, err
}

// syncWorkers flush at the same time: file systems make one commit of several, and a commit is what takes time.
const syncWorkers = 32

// makeDurable flushes what has been received to the disk.
func makeDurable(dest *os.Root, items []*staged) error {
	names := make(chan string)
	failed := make(chan error, syncWorkers)
	for range syncWorkers {
		go func() {
			var errs []error
			for name := range names {
				f, err := dest.Open(name)
				if err == nil {
					err = errors.Join(f.Sync(), f.Close())
				}
				errs = append(errs, err)
			}
			failed <- errors.Join(errs...)
		}()
	}
	for _, s := range items {
		for _, e := range s.Files {
			names <- s.place(e.Name)
		}
	}
	close(names)
	var errs []error
	for range syncWorkers {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}
