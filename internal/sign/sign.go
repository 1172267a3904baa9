package sign

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/inspect"
)

// Order is what is to be signed, and how.
type Order struct {
	From *os.Root // the directory that has it
	Name string   // below that, with slashes
	Work string   // an empty directory of the host that no guest reaches, for the copy and the result

	Identity      string // hash, name, or a part of the name; empty: the only one there is
	Profile       string // file of a provisioning profile; empty: none
	Entitlements  string // file; empty: those of the profile
	ExportOptions string // file for xcodebuild; empty: made from identity and profile
	Notarize      string // profile of notarytool's credentials; empty: not notarised
}

// Result is what was signed.
type Result struct {
	Name        string // of the signed file or bundle in Order.Work, one element
	Identity    Identity
	Description Description // of what was signed, as it said before
	Notarized   bool
}

// Sign copies an artifact, signs the copy, and leaves it in Order.Work.
func (m *Mac) Sign(ctx context.Context, o Order) (Result, error) {
	j := job{Mac: m, o: o}
	err := j.prepare(ctx)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = j.work.Close() }()
	switch j.d.Kind {
	case App:
		err = j.application(ctx, path.Base(o.Name))
	case IPA:
		err = j.ipa(ctx)
	case Archive:
		err = j.export(ctx)
	case DiskImage:
		_, err = m.Step(ctx, "signing "+j.path(), SignAdvice,
			Codesign, "--force", timestamp(j.identity.Hash), "--sign", j.identity.Hash, j.path())
	case Package:
		err = j.pkg(ctx)
	}
	if err == nil && o.Notarize != "" {
		err = j.notarize(ctx)
	}
	if err != nil {
		return Result{}, err
	}
	return Result{Name: j.result, Identity: j.identity, Description: j.d, Notarized: o.Notarize != ""}, nil
}

// job is one order while it is carried out.
type job struct {
	*Mac
	o        Order
	work     *os.Root
	d        Description
	identity Identity
	profile  *Profile
	embed    []byte // the profile's file
	result   string // in work
}

func (j *job) path() string { return filepath.Join(j.o.Work, j.result) }

// signable is a hint.
const signable = "What can be signed: .app, .xcarchive, .ipa, .dmg and .pkg."

// prepare copies what is to be signed, and finds out all that can be wrong before anything is.
func (j *job) prepare(ctx context.Context) (err error) {
	o := j.o
	if KindOf(o.Name) == "" {
		return hint.Errorf(signable, "signing %s: it is nothing that can be signed", inspect.Name(path.Base(o.Name)))
	}
	if o.Work, err = filepath.Abs(o.Work); err != nil {
		return err
	}
	if j.work, err = os.OpenRoot(o.Work); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	defer func() {
		if err != nil {
			_ = j.work.Close()
		}
	}()
	if err := copyTree(o.From, o.Name, j.work); err != nil {
		return err
	}
	j.o, j.result = o, path.Base(o.Name)
	if j.d, err = Describe(j.work.FS(), j.result); err != nil {
		return err
	}
	if o.Notarize != "" && (j.d.Kind == IPA || j.d.mobile) {
		return hint.Errorf("Leave --notarize away.", "signing %s: Apple notarises what is for a Mac, and this is not", j.result)
	}
	if err := j.readProfile(); err != nil {
		return err
	}
	return j.chooseIdentity(ctx)
}

func (j *job) readProfile() error {
	if j.o.Profile == "" {
		if j.d.mobile && j.o.ExportOptions == "" {
			return hint.Errorf("Give the profile's file with --profile.",
				"signing %s: an application for a device needs a provisioning profile", j.result)
		}
		return nil
	}
	p, text, err := ReadProfile(j.o.Profile)
	if err != nil {
		return hint.Wrap(err, "Give the file of a profile (.mobileprovision or .provisionprofile) with --profile.")
	}
	if time.Now().After(p.Expires) {
		return hint.Errorf("Renew it in Xcode or on developer.apple.com.", "signing %s: the profile %q expired on %s", j.result,
			p.Name, p.Expires.Format(time.DateOnly))
	}
	j.profile, j.embed = &p, text
	return nil
}

func (j *job) chooseIdentity(ctx context.Context) error {
	if j.o.Identity == AdHoc && j.d.Kind != Package {
		j.identity = Identity{Hash: AdHoc, Name: "nobody (ad hoc)"}
		if j.o.Notarize != "" {
			return hint.Errorf("Give a Developer ID with --identity.", "signing %s: Apple notarises no ad hoc signature", j.result)
		}
		return nil
	}
	if j.d.Kind == Archive && j.o.Identity == "" && j.o.ExportOptions != "" {
		return nil // they say who signs
	}
	all, err := j.Identities(ctx)
	if err != nil {
		return err
	}
	j.identity, err = choose(all, j.o.Identity, j.d.Kind == Package)
	return err
}

// application signs an application in work: what is nested in it first, then the bundle around it.
func (j *job) application(ctx context.Context, app string) error {
	dir := filepath.Join(j.o.Work, filepath.FromSlash(app))
	entitlements, err := j.entitlements()
	if err != nil {
		return err
	}
	if err := j.embedProfile(app); err != nil {
		return err
	}
	var info infoPlist
	resources := path.Join(app, "Contents")
	if j.d.mobile {
		resources = app
	}
	if err := readPlist(j.work.FS(), path.Join(resources, "Info.plist"), &info); err != nil {
		return err
	}
	nested, err := NestedCode(dir, info.Program)
	if err != nil {
		return err
	}
	for _, p := range nested {
		// Entitlements are those of the application alone: what a guest gave to the parts is not signed for.
		if _, err := j.Step(ctx, "signing "+inspect.Name(p), SignAdvice, Signature(j.identity.Hash, "", p)...); err != nil {
			return err
		}
	}
	if _, err := j.Step(ctx, "signing "+dir, SignAdvice, Signature(j.identity.Hash, entitlements, dir)...); err != nil {
		return err
	}
	_, err = j.Step(ctx, "checking the signature", SignAdvice, Verification(dir)...)
	return err
}

// entitlements returns the file of those to sign with, or "".
func (j *job) entitlements() (string, error) {
	switch {
	case j.o.Entitlements != "":
		return PlainEntitlements(j.o.Entitlements, j.o.Work)
	case j.profile != nil:
		return writeEntitlements(j.profile.granted(j.d.BundleID), j.o.Work)
	}
	return "", nil
}

func (j *job) embedProfile(app string) error {
	if j.embed == nil {
		return nil
	}
	at := path.Join(app, "Contents", "embedded.provisionprofile")
	if j.d.mobile {
		at = path.Join(app, "embedded.mobileprovision")
	}
	if err := j.work.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("embedding the profile: %w", err)
	}
	f, err := j.work.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		_, err = f.Write(j.embed)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("embedding the profile: %w", err)
	}
	return nil
}

// ipa signs the application in an IPA and packs it again.
func (j *job) ipa(ctx context.Context) error {
	f, err := j.work.Open(j.result)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := openZip(f)
	if err != nil {
		return err
	}
	const unpacked = "unpacked"
	if err := j.work.Mkdir(unpacked, 0o700); err != nil {
		return err
	}
	dir, err := j.work.OpenRoot(unpacked)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unpack(z, dir); err != nil {
		return fmt.Errorf("unpacking %s: %w", inspect.Name(j.result), err)
	}
	if err := j.application(ctx, path.Join(unpacked, j.d.app)); err != nil {
		return err
	}
	out, err := j.work.OpenFile("packed", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		err = errors.Join(pack(dir, out), out.Close())
	}
	if err == nil {
		err = j.work.Rename("packed", j.result)
	}
	if err != nil {
		return fmt.Errorf("packing %s: %w", inspect.Name(j.result), err)
	}
	return nil
}

// export has Xcode make of an archive what is distributed.
func (j *job) export(ctx context.Context) error {
	options, err := j.exportOptions()
	if err != nil {
		return err
	}
	out := filepath.Join(j.o.Work, "exported")
	_, err = j.Step(ctx, "exporting "+j.path(), "xcodebuild comes with Xcode; xcode-select -p says which is in use. "+SignAdvice,
		xcodebuild, "-exportArchive", "-archivePath", j.path(), "-exportPath", out, "-exportOptionsPlist", options)
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(j.work.FS(), "exported")
	if err != nil {
		return fmt.Errorf("exporting %s: %w", j.result, err)
	}
	for _, e := range entries {
		if k := KindOf(e.Name()); k == IPA || k == App || k == Package {
			j.result = e.Name()
			return j.work.Rename(path.Join("exported", e.Name()), e.Name())
		}
	}
	return fmt.Errorf("exporting %s: Xcode left neither an .ipa nor an .app nor a .pkg", j.result)
}

// exportOptions returns the file that tells xcodebuild what to make.
func (j *job) exportOptions() (string, error) {
	if j.o.ExportOptions != "" {
		var given map[string]any
		text, err := os.ReadFile(j.o.ExportOptions)
		if err == nil {
			err = parsePlist(text, &given)
		}
		if err != nil {
			return "", fmt.Errorf("reading the export options: %w", err)
		}
		return writePlist(given, j.o.Work, "export-*.plist")
	}
	if j.profile == nil {
		return "", hint.Errorf("Give --profile, or the whole of it with --export-options.",
			"exporting %s: what it is to become is said by a provisioning profile or by export options", j.result)
	}
	options := map[string]any{
		"method": j.profile.method(), "signingStyle": "manual", "signingCertificate": j.identity.Name,
		"provisioningProfiles": map[string]any{j.d.BundleID: j.profile.Name},
	}
	if len(j.profile.Team) > 0 {
		options["teamID"] = j.profile.Team[0]
	}
	return writePlist(options, j.o.Work, "export-*.plist")
}

// pkg signs an installer, which productsign does into a new file.
func (j *job) pkg(ctx context.Context) error {
	out := filepath.Join(j.o.Work, "packed.pkg")
	_, err := j.Step(ctx, "signing "+j.path(), SignAdvice, productsign, "--timestamp", "--sign", j.identity.Hash, j.path(), out)
	if err != nil {
		return err
	}
	return j.work.Rename("packed.pkg", j.result)
}

// notarize has Apple check what was signed, and attaches the ticket.
func (j *job) notarize(ctx context.Context) error {
	c, send := Credentials{Profile: j.o.Notarize}, j.path()
	if KindOf(j.result) == IPA {
		return hint.Errorf("Leave --notarize away.", "notarising %s: Apple notarises what is for a Mac, and this is not", j.result)
	}
	if KindOf(j.result) == App {
		send = filepath.Join(j.o.Work, "notarize.zip")
		_, err := j.Step(ctx, "packing "+j.path(), "", Ditto, "-c", "-k", "--keepParent", j.path(), send)
		if err != nil {
			return err
		}
	}
	if err := j.Submit(ctx, c, send); err != nil {
		return err
	}
	return j.Staple(ctx, j.path())
}
