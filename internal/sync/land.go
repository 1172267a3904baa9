package sync

import (
	"context"
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
	gosync "sync"
	"syscall"
	"time"
)

// refusal is an error that concerns one artifact and none of the others.
type refusal string

func (r refusal) Error() string { return string(r) }

// lander gives staged items their final names.
type lander struct {
	dest    *os.Root
	staging heldDir
	o       Options
	now     func() time.Time
	dirs    map[string]heldDir // directories of the host known to be none of links; open where something has landed
	// built tells what the guest was at work on. It may wait for the guest.
	built func() Build
}

// builtWithin is how long a guest may take to tell what it was at work on, before nobody knows.
const builtWithin = 20 * time.Second

// heldDir is a directory with its descriptor: to ask an os.File for that costs system calls.
type heldDir struct {
	f  *os.File // nil: not open
	fd int
}

func held(f *os.File) heldDir { return heldDir{f, int(f.Fd())} }

// newLander needs staging to be there. What the guest was at work on is asked for meanwhile.
func (e *engine) newLander(ctx context.Context) (*lander, error) {
	staging, err := e.dest.Open(stagingDir)
	if err != nil {
		return nil, err
	}
	built := make(chan Build, 1)
	if e.o.Built == nil {
		built <- Build{}
	} else {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, builtWithin)
			defer cancel()
			built <- e.o.Built(ctx)
		}()
	}
	return &lander{
		dest: e.dest, staging: held(staging), o: e.o, now: e.o.Now, dirs: map[string]heldDir{},
		built: gosync.OnceValue(func() Build { return <-built }),
	}, nil
}

// maxOpenDirs bounds the directories that are held open.
const maxOpenDirs = 200

// forget closes the directories: some may be others by now.
func (l *lander) forget() {
	for _, d := range l.dirs {
		if d.f != nil {
			d.f.Close()
		}
	}
	clear(l.dirs)
}

func (l *lander) close() {
	l.forget()
	l.staging.f.Close()
}

// artifact is what a staged item is about to be. before is what is known about its name; the zero record if nothing is.
func (l *lander) artifact(s *staged, before record) Artifact {
	if s.Bundle || s.sum != "" {
		s.warnings = look(l.dest, path.Join(stagingDir, s.at), s.Name, s.Bundle)
	}
	return Artifact{
		Name: s.Name, Path: filepath.Join(l.o.Dest, filepath.FromSlash(s.Name)), SHA256: s.digest(), Size: s.Size,
		Origin: l.o.Origin, Warnings: s.warnings,
		Mode: s.mode, ModTime: s.modTime.UTC(),
		LandedAt: l.now().UTC(), Workspace: l.o.Workspace, Agent: l.o.Agent, Version: before.Version + 1, Bundle: s.Bundle,
	}
}

// land gives a staged item its name. It returns the artifact with its version, and whether the host had the very same
// content there already, which is then left as it is.
func (l *lander) land(s *staged, a Artifact, before record) (_ Artifact, same bool, err error) {
	defer func() {
		if reason := aboutTheName(err); reason != "" {
			err = refusal(reason)
		}
		s.drop()
		if err != nil {
			_ = l.dest.RemoveAll(path.Join(stagingDir, s.at))
		}
	}()
	dir, err := l.open(path.Dir(s.Name))
	if err != nil {
		return a, false, err
	}
	err = l.name(s, dir.fd)
	if err == nil || !errors.Is(err, fs.ErrExist) && !noRenameNew(err) {
		return a, false, err
	}
	at := path.Join(stagingDir, s.at)
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
		return a, true, errors.Join(err, l.dest.RemoveAll(at))
	default:
		version, err := l.setAside(s.Name, there, max(before.Version, 1), !s.Bundle)
		if err != nil {
			return a, false, err
		}
		a.Version = version + 1
	}
	if err := l.dest.Rename(at, s.Name); err != nil {
		return a, false, err
	}
	l.prune(s.Name, a.Version)
	return a, false, nil
}

// name gives an item its name in an open directory, in which there is none of that name. If there is, it has one in staging.
func (l *lander) name(s *staged, dir int) error {
	if s.nameless {
		err := linkNew(s.fd, dir, path.Base(s.Name))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := linkNew(s.fd, l.staging.fd, s.at); err != nil {
			return err
		}
	}
	return renameNew(l.staging.fd, s.at, dir, path.Base(s.Name))
}

// open makes a directory and those above it, and returns it open.
func (l *lander) open(dir string) (heldDir, error) {
	if d := l.dirs[dir]; d.f != nil {
		return d, nil
	}
	if len(l.dirs) > maxOpenDirs {
		l.forget()
	}
	if err := l.makeDirs(dir); err != nil {
		return heldDir{}, err
	}
	f, err := l.dest.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return heldDir{}, err
	}
	l.dirs[dir] = held(f)
	return l.dirs[dir], nil
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
	if _, known := l.dirs[dir]; known || dir == "." {
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
		l.dirs[dir] = heldDir{}
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
			l.forget()
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
	for _, e := range s.Links {
		lines = append(lines, bundleLine(strings.TrimPrefix(e.Name, s.Name+"/"), linkSum(e.Target)))
	}
	for _, d := range s.Dirs {
		lines = append(lines, bundleLine(strings.TrimPrefix(strings.TrimPrefix(d, s.Name), "/"), "directory"))
	}
	return bundleDigest(lines)
}

// linkSum stands for a link's content.
func linkSum(target string) string { return "link " + target }

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
		case d.Type() == fs.ModeSymlink && p != name:
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
