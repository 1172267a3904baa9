package sign

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/inspect"
)

// Description is what an artifact says about itself: words of the guest's, safe to show.
type Description struct {
	Kind     Kind   `json:"kind"`
	BundleID string `json:"bundle_id,omitempty"`
	Version  string `json:"version,omitempty"`
	Build    string `json:"build,omitempty"`
	Signed   bool   `json:"signed"` // there is a signature, good or bad
	// SignedBy is who signed it, as far as it says so without being asked by codesign.
	SignedBy string   `json:"signed_by,omitempty"`
	Profile  *Profile `json:"profile,omitempty"` // the one embedded

	app    string // where the application lies in an archive or an IPA
	mobile bool   // an application of iOS and the like
}

// NeedsProfile tells whether it cannot be signed without a provisioning profile.
func (d Description) NeedsProfile() bool { return d.Kind == Archive || d.mobile }

// infoPlist is what is read of an application's Info.plist.
type infoPlist struct {
	ID      string `plist:"CFBundleIdentifier"`
	Version string `plist:"CFBundleShortVersionString"`
	Build   string `plist:"CFBundleVersion"`
	Program string `plist:"CFBundleExecutable"`
}

// archivePlist is what is read of an .xcarchive's Info.plist.
type archivePlist struct {
	Properties struct {
		Path     string `plist:"ApplicationPath"`
		ID       string `plist:"CFBundleIdentifier"`
		Version  string `plist:"CFBundleShortVersionString"`
		Build    string `plist:"CFBundleVersion"`
		Identity string `plist:"SigningIdentity"`
	} `plist:"ApplicationProperties"`
}

// Describe reads what a directory, or a file in it, says about itself. name is in tree; of a bundle it is a directory.
func Describe(tree fs.FS, name string) (Description, error) {
	d := Description{Kind: KindOf(name)}
	var err error
	switch d.Kind {
	case App:
		err = d.application(tree, name)
	case Archive:
		err = d.archive(tree, name)
	case IPA:
		err = d.ipa(tree, name)
	case DiskImage, Package:
		_, err = fs.Stat(tree, name)
	default:
		return d, hint.Errorf(signable, "%s is nothing that can be signed", inspect.Name(path.Base(name)))
	}
	if err != nil {
		return d, fmt.Errorf("reading %s: %w", inspect.Name(path.Base(name)), err)
	}
	return d, nil
}

func (d *Description) application(tree fs.FS, app string) error {
	resources := path.Join(app, "Contents")
	if _, err := fs.Stat(tree, path.Join(resources, "Info.plist")); errors.Is(err, fs.ErrNotExist) {
		resources, d.mobile = app, true
	}
	var info infoPlist
	if err := readPlist(tree, path.Join(resources, "Info.plist"), &info); err != nil {
		return err
	}
	d.app = app
	d.says(info.ID, info.Version, info.Build)
	if _, err := fs.Stat(tree, path.Join(resources, "_CodeSignature", "CodeResources")); err == nil {
		d.Signed = true
	}
	for _, name := range []string{"embedded.mobileprovision", "embedded.provisionprofile"} {
		f, err := tree.Open(path.Join(resources, name))
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(f, maxPlist))
		_ = f.Close()
		if err != nil {
			return err
		}
		p, err := parseProfile(text)
		if err != nil {
			return err
		}
		p.Name, p.UUID = inspect.Name(p.Name), inspect.Name(p.UUID)
		for _, list := range [][]string{p.Team, p.Platforms} {
			for i := range list {
				list[i] = inspect.Name(list[i])
			}
		}
		d.Profile = &p
	}
	return nil
}

func (d *Description) says(id, version, build string) {
	d.BundleID, d.Version, d.Build = inspect.Name(id), inspect.Name(version), inspect.Name(build)
}

func (d *Description) archive(tree fs.FS, name string) error {
	var info archivePlist
	if err := readPlist(tree, path.Join(name, "Info.plist"), &info); err != nil {
		return err
	}
	p := info.Properties
	app := path.Join(name, "Products", p.Path)
	if p.Path == "" || !fs.ValidPath(p.Path) || KindOf(p.Path) != App {
		return errors.New("its Info.plist names no application")
	}
	if err := d.application(tree, app); err != nil {
		return err
	}
	d.says(p.ID, p.Version, p.Build)
	d.SignedBy = inspect.Name(p.Identity)
	return nil
}

func (d *Description) ipa(tree fs.FS, name string) error {
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z, err := openZip(f)
	if err != nil {
		return err
	}
	app, err := payload(z)
	if err != nil {
		return err
	}
	return d.application(z, app)
}

// openZip opens an archive for reading its members.
func openZip(f fs.File) (*zip.Reader, error) {
	at, ok := f.(io.ReaderAt)
	info, err := f.Stat()
	if err != nil || !ok || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is not a file"), err)
	}
	return inspect.OpenZip(at, info.Size(), maxTable)
}

// maxTable bounds the table of an IPA's members, in bytes: some hundred thousand of them.
const maxTable = 32 << 20

// payload finds the application of an IPA: the one directory Payload/*.app.
func payload(z *zip.Reader) (string, error) {
	var found []string
	for _, f := range z.File {
		parts := strings.Split(f.Name, "/")
		if len(parts) < 3 || parts[0] != "Payload" || KindOf(parts[1]) != App {
			continue
		}
		if app := path.Join(parts[0], parts[1]); !slices.Contains(found, app) {
			found = append(found, app)
		}
		if len(found) > 1 {
			break
		}
	}
	if len(found) != 1 {
		return "", errors.New("it does not hold one application (Payload/NAME.app)")
	}
	return found[0], nil
}
