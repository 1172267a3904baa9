package sign

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/calmenu/calmenu/internal/clone"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/inspect"
)

// maxTree and maxFiles bound what is signed: bytes, and files, directories and links.
const (
	maxTree  = 32 << 30
	maxFiles = 500_000
)

// errOutward is a link that leads out of what is signed.
var errOutward = errors.New("a link leads out of it")

// copyTree copies a file or bundle to the top of another directory, under its own name. Links of a bundle that lead out
// of it refuse the whole.
func copyTree(from *os.Root, name string, to *os.Root) error {
	base := path.Base(name)
	_, err := clone.Tree(from, name, to, base, clone.Limits{Files: maxFiles, Bytes: maxTree})
	if err == nil {
		err = linksStay(to, base)
	}
	if err != nil {
		return fmt.Errorf("copying %s to sign it: %w", inspect.Name(base), err)
	}
	return nil
}

// linksStay makes sure that no link of a bundle leads out of it, by following each within the bundle's own handle. One
// that leads nowhere leads out of nothing.
func linksStay(dir *os.Root, bundle string) error {
	info, err := dir.Lstat(bundle)
	if err != nil || !info.IsDir() {
		return err
	}
	root, err := dir.OpenRoot(bundle)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		if _, err := root.Stat(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return hint.Wrap(fmt.Errorf("%w: %s", errOutward, inspect.Name(path.Join(bundle, p))),
				"Build it again; a link in an application leads to what is in the application.")
		}
		return nil
	})
}

// bundles are the directories in an application that are signed as one.
var bundles = map[string]bool{
	".app": true, ".appex": true, ".framework": true, ".xpc": true, ".bundle": true, ".plugin": true, ".systemextension": true,
}

// NestedCode lists what in a bundle is signed before it, beside its main program, innermost first: programs and
// libraries, told by what is in them and not by where they are or what they are called, and bundles with an Info.plist.
// Links are not followed.
func NestedCode(app, executable string) ([]string, error) {
	main := []string{filepath.Join(app, "Contents", "MacOS", executable), filepath.Join(app, executable)}
	var found []string
	err := filepath.WalkDir(app, func(p string, d fs.DirEntry, err error) error {
		if err != nil || slices.Contains(main, p) || p == app {
			return err
		}
		nested := false
		switch {
		case d.IsDir():
			nested = bundles[strings.ToLower(filepath.Ext(p))] && hasInfo(p)
		case d.Type().IsRegular():
			nested, err = isCode(p)
		}
		if nested {
			found = append(found, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for programs in %s: %w", app, err)
	}
	depth := func(p string) int { return strings.Count(p, string(filepath.Separator)) }
	slices.SortStableFunc(found, func(a, b string) int { return depth(b) - depth(a) })
	return found, nil
}

// hasInfo tells whether a directory is a bundle to codesign.
func hasInfo(dir string) bool {
	for _, below := range []string{
		"Info.plist", "Contents/Info.plist", "Resources/Info.plist", "Versions/Current/Resources/Info.plist",
	} {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(below))); err == nil {
			return true
		}
	}
	return false
}

// isCode says whether a file begins as Mach-O does, for one processor or several.
func isCode(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var magic [4]byte
	if n, err := io.ReadFull(f, magic[:]); n < len(magic) {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil // too short for a program
		}
		return false, err
	}
	switch binary.BigEndian.Uint32(magic[:]) {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe, 0xcafebabe, 0xcafebabf:
		return true, nil
	}
	return false, nil
}

// unpack unpacks an IPA into a directory, which is empty. Names that lead out of it, and links that do, refuse the whole.
func unpack(z *zip.Reader, to *os.Root) error {
	size := int64(0)
	if len(z.File) > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, "/")
		if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
			return fmt.Errorf("it holds %s, which leads out of it", inspect.Name(f.Name))
		}
		n, err := unpackMember(f, name, to, maxTree-size)
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", inspect.Name(name), err)
		}
		size += n
	}
	return linksStay(to, "Payload")
}

func unpackMember(f *zip.File, name string, to *os.Root, most int64) (int64, error) {
	if f.FileInfo().IsDir() {
		return 0, to.MkdirAll(name, 0o755)
	}
	if dir := path.Dir(name); dir != "." {
		if err := to.MkdirAll(dir, 0o755); err != nil {
			return 0, err
		}
	}
	r, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	switch {
	case f.Mode()&fs.ModeSymlink != 0:
		target, err := io.ReadAll(io.LimitReader(r, 4096))
		if err != nil {
			return 0, err
		}
		return 0, to.Symlink(string(target), name)
	case !f.Mode().IsRegular():
		return 0, errors.New("it is no file")
	}
	w, err := to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600|f.Mode().Perm()&0o755)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = errors.New("it is too large")
	}
	return n, errors.Join(err, w.Close())
}

// pack makes an IPA of a directory's Payload.
func pack(from *os.Root, to io.Writer) error {
	z := zip.NewWriter(to)
	err := fs.WalkDir(from.FS(), "Payload", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h, err := zip.FileInfoHeader(info)
		if err != nil {
			return err
		}
		h.Name, h.Method = p, zip.Deflate
		if d.IsDir() {
			h.Name, h.Method = p+"/", zip.Store
		}
		w, err := z.CreateHeader(h)
		if err != nil || d.IsDir() {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			target, err := from.Readlink(p)
			if err == nil {
				_, err = io.WriteString(w, target)
			}
			return err
		}
		f, err := from.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	return errors.Join(err, z.Close())
}
