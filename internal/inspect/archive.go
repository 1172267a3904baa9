package inspect

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"
)

// maxDirectory bounds the table of a zip's members, which is read into memory as a whole: some ten thousand of them.
const maxDirectory = 4 << 20

// maxTarget bounds where a link of a zip leads to, in bytes.
const maxTarget = 4096

// archive is one archive while it is looked at.
type archive struct {
	*look
	within string // where it lies, if in another
	depth  int
	mobile bool
	apps   map[string]bool // applications in it -> signed
	order  []string        // of apps
}

// archive looks at an archive's members.
func (s *look) archive(within, name string, kind archiveKind, content io.ReaderAt, size int64, depth int) {
	if kind == noArchive {
		return
	}
	if depth > s.limits.Depth {
		s.missed = true
		return
	}
	a := &archive{look: s, within: within, depth: depth, mobile: mobile(name), apps: map[string]bool{}}
	var err error
	switch kind {
	case zipArchive:
		err = a.zip(content, size)
	case tarArchive:
		err = a.tar(io.NewSectionReader(content, 0, size))
	default:
		err = a.compressed(kind, name, io.NewSectionReader(content, 0, size))
	}
	for _, app := range a.order {
		if !a.apps[app] {
			a.holds(app, "is an application without a signature")
		}
	}
	s.incomplete(err)
}

func (a *archive) holds(member, does string) {
	if a.within != "" {
		member = a.within + "/" + member
	}
	a.look.holds(member, does)
}

// OpenZip opens a zip whose table of members, which is read into memory as a whole, takes at most so many bytes. Members'
// names may be anything.
func OpenZip(content io.ReaderAt, size, table int64) (*zip.Reader, error) {
	b := &boundedReaderAt{content, table}
	z, err := zip.NewReader(b, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, err
	}
	b.left = math.MaxInt64
	return z, nil
}

// zip looks at a zip by its table of members.
func (a *archive) zip(content io.ReaderAt, size int64) error {
	z, err := OpenZip(content, size, maxDirectory)
	if err != nil {
		return err
	}
	for _, f := range z.File {
		if err := a.member(); err != nil {
			return err
		}
		dir := f.FileInfo().IsDir()
		a.named(f.Name, f.Mode(), dir)
		switch {
		case f.Mode()&fs.ModeSymlink != 0:
			target, err := a.zipMember(f, maxTarget)
			a.incomplete(err)
			a.link(f.Name, string(target))
		case !dir && nests(f.Name):
			if f.UncompressedSize64 > uint64(a.limits.Nested) {
				a.missed = true
				continue
			}
			inner, err := a.zipMember(f, a.limits.Nested)
			if err != nil {
				a.missed = true
				continue
			}
			a.nested(f.Name, inner)
		}
	}
	return nil
}

// zipMember reads a member of at most limit bytes. What the table says of its size may be a lie.
func (a *archive) zipMember(f *zip.File, limit int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return a.all(r, limit)
}

// all reads at most limit bytes; what is longer is an error.
func (a *archive) all(r io.Reader, limit int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(&metered{r, a.look}, limit+1))
	if err == nil && n > limit {
		err = errLimit
	}
	return b.Bytes(), err
}

// compressed looks at what one file was compressed into: a tar, or a file of its own.
func (a *archive) compressed(kind archiveKind, name string, content io.Reader) error {
	plain := bzip2.NewReader(content)
	if kind == gzipFile {
		z, err := gzip.NewReader(content)
		if err != nil {
			return err
		}
		plain = z
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(&metered{plain, a.look}, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	head = head[:n]
	lower := strings.ToLower(name)
	if archiveOf("", head) == tarArchive || strings.HasSuffix(lower, ".tgz") || strings.Contains(lower, ".tar.") {
		return a.tar(io.MultiReader(bytes.NewReader(head), plain))
	}
	inner := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".bz2")
	if does := byName(inner); does != "" {
		a.holds(inner, does)
	} else if does := byContent(head); does != "" {
		a.holds(inner, does)
	}
	return nil
}

// tar looks at a tar as it comes. A member that is an archive is looked into where it is small.
func (a *archive) tar(content io.Reader) error {
	t := tar.NewReader(&metered{content, a.look})
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, tar.ErrInsecurePath):
			return err
		}
		if err := a.member(); err != nil {
			return err
		}
		a.named(h.Name, h.FileInfo().Mode(), h.Typeflag == tar.TypeDir)
		switch h.Typeflag {
		case tar.TypeSymlink:
			a.link(h.Name, h.Linkname)
		case tar.TypeLink:
			if escapes(h.Linkname) {
				a.outward(h.Name, "is a hard link out of it")
			}
		case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
			a.outward(h.Name, "is a device or a FIFO")
		case tar.TypeReg:
			if !nests(h.Name) {
				continue
			}
			if h.Size > a.limits.Nested {
				a.missed = true
				continue
			}
			inner, err := a.all(t, a.limits.Nested)
			if err != nil {
				return err
			}
			a.nested(h.Name, inner)
		}
	}
}

// named looks at a member's name and mode.
func (a *archive) named(name string, mode fs.FileMode, dir bool) {
	if escapes(name) {
		a.outward(name, "would be unpacked outside of where it is unpacked")
	}
	if mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		a.outward(name, "gets the rights of its owner when it runs")
	}
	a.application(name)
	clean := strings.TrimSuffix(name, "/")
	switch does := byName(clean); {
	case does == "":
	case a.mobile && does != repository: // it is for another machine
	case dir && does != repository: // of directories only a few say anything
	default:
		a.holds(clean, does)
	}
}

// application notes the outermost application a name lies in, and whether the name is its signature.
func (a *archive) application(name string) {
	elements := strings.Split(path.Clean(name), "/")
	for i, e := range elements {
		if path.Ext(strings.ToLower(e)) != ".app" || len(elements) == 1 && !strings.HasSuffix(name, "/") {
			continue
		}
		app := strings.Join(elements[:i+1], "/")
		if _, known := a.apps[app]; !known {
			if len(a.order) >= maxWarnings {
				return
			}
			a.order = append(a.order, app)
			a.apps[app] = false
		}
		switch strings.Join(elements[i+1:], "/") {
		case "Contents/_CodeSignature/CodeResources", "_CodeSignature/CodeResources":
			a.apps[app] = true
		}
		return
	}
}

func (a *archive) link(name, target string) {
	if leads(name, target) {
		a.outward(name, fmt.Sprintf("is a link to %s", Name(target)))
	}
}

// outward notes a member that reaches out of the archive.
func (a *archive) outward(name, does string) {
	if a.within != "" {
		name = a.within + "/" + name
	}
	a.say("", "outward", fmt.Sprintf("holds %s, which %s", Name(name), does))
}

// nests tells whether a member's name is that of an archive that is looked into.
func nests(name string) bool {
	lower := strings.ToLower(name)
	for _, e := range []string{".zip", ".tar", ".tgz", ".gz", ".bz2", ".tbz", ".tbz2", ".ipa"} {
		if strings.HasSuffix(lower, e) {
			return true
		}
	}
	return false
}

func (a *archive) nested(name string, content []byte) {
	within := name
	if a.within != "" {
		within = a.within + "/" + name
	}
	head := content[:min(len(content), headSize)]
	a.archive(within, path.Base(name), archiveOf(name, head), bytes.NewReader(content), int64(len(content)), a.depth+1)
}

// boundedReaderAt reads no more than so many bytes in all.
type boundedReaderAt struct {
	io.ReaderAt
	left int64
}

func (b *boundedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errLimit
	}
	return b.ReaderAt.ReadAt(p, off)
}

// metered reads what a look may still read.
type metered struct {
	io.Reader
	look *look
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if lerr := m.look.read(n); lerr != nil {
		return n, lerr
	}
	return n, err
}
