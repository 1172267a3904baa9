package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/sign"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/vm"
)

// SignOptions say how an artifact is signed. All files are the host's own.
type SignOptions struct {
	Identity      string // hash, name or part of a name; "-" signs with none
	Profile       string // provisioning profile: its file, name or UUID
	Entitlements  string
	ExportOptions string
	Notarize      string // profile of notarytool's credentials
}

// Signed is an artifact that was signed.
type Signed struct {
	Artifact    outbox.Artifact  `json:"artifact"`
	Identity    sign.Identity    `json:"identity"`
	Description sign.Description `json:"description"` // of what was signed, as it said before
	Notarized   bool             `json:"notarized"`
}

// Identities lists who can sign on this computer.
func (a *App) Identities(ctx context.Context) ([]sign.Identity, error) {
	all, err := sign.ThisMac(nil).Identities(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing who can sign: %w", err)
	}
	return all, nil
}

// DescribeArtifact says what an artifact that can be signed says about itself.
func (a *App) DescribeArtifact(ctx context.Context, name, wanted string) (sign.Description, outbox.Artifact, error) {
	x, err := a.Artifact(name, wanted)
	if err != nil {
		return sign.Description{}, x, err
	}
	w, err := a.Workspace(x.Workspace)
	if err != nil {
		return sign.Description{}, x, err
	}
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return sign.Description{}, x, err
	}
	root, err := os.OpenRoot(o.Dest)
	if err != nil {
		return sign.Description{}, x, fmt.Errorf("reading %s: %w", x.Name, err)
	}
	defer func() { _ = root.Close() }()
	d, err := sign.Describe(root.FS(), x.Name)
	return d, x, err
}

// Sign signs an artifact on this computer, in a copy, and lands the result beside it. say is told each step; nil is not.
func (a *App) Sign(
	ctx context.Context, name, wanted string, o SignOptions, say io.Writer, p vm.Progress,
) (s Signed, err error) {
	x, err := a.Artifact(name, wanted)
	if err != nil {
		return s, err
	}
	w, err := a.Workspace(x.Workspace)
	if err != nil {
		return s, err
	}
	op := a.Journal.Begin(w.Name, "sign")
	op.Phase("signing "+path.Base(x.Name), 0, 0)
	p.Report(vm.Phase{Name: "signing " + path.Base(x.Name)})
	s, err = a.sign(ctx, w, x, o, say)
	return s, op.End(err, "")
}

func (a *App) sign(
	ctx context.Context, w *config.Workspace, x outbox.Artifact, so SignOptions, say io.Writer,
) (Signed, error) {
	var s Signed
	if x.SignedFrom != "" {
		return s, hint.Errorf("Sign what it was signed from.", "signing %s: it is a signed copy already", x.Name)
	}
	o, err := a.outboxOptions(ctx, w)
	if err != nil {
		return s, err
	}
	if err := outbox.Unchanged(o, x); err != nil {
		return s, hint.Wrap(fmt.Errorf("signing %s: it %w", x.Name, err), "Have the guest put it out again.")
	}
	if so.Profile, err = findProfile(so.Profile); err != nil {
		return s, err
	}
	from, err := os.OpenRoot(o.Dest)
	if err != nil {
		return s, fmt.Errorf("signing %s: %w", x.Name, err)
	}
	defer func() { _ = from.Close() }()
	parent := filepath.Join(a.Home.WorkspaceDir(w.Name), "signing")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return s, fmt.Errorf("signing %s: %w", x.Name, err)
	}
	sweepSigning(parent, time.Now())
	work, err := os.MkdirTemp(parent, "")
	if err != nil {
		return s, fmt.Errorf("signing %s: %w", x.Name, err)
	}
	defer os.RemoveAll(work)
	r, err := sign.ThisMac(say).Sign(ctx, sign.Order{
		From: from, Name: x.Name, Work: work, Identity: so.Identity, Profile: so.Profile, Entitlements: so.Entitlements,
		ExportOptions: so.ExportOptions, Notarize: so.Notarize,
	})
	if err != nil {
		return s, err
	}
	s = Signed{Identity: r.Identity, Description: r.Description, Notarized: r.Notarized}
	s.Artifact, err = adoptSigned(ctx, o, work, r, x)
	if err != nil {
		return s, err
	}
	return s, a.recordReport(w.Name, outbox.Report{Landed: []outbox.Artifact{s.Artifact}})
}

// signingTime is longer than any signing takes, Apple's verdict included.
const signingTime = 24 * time.Hour

// sweepSigning removes what signings that were killed have left.
func sweepSigning(parent string, now time.Time) {
	left, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, d := range left {
		if info, err := d.Info(); err == nil && now.Sub(info.ModTime()) > signingTime {
			_ = os.RemoveAll(filepath.Join(parent, d.Name()))
		}
	}
}

// adoptSigned lands what was signed, beside what it was signed from.
func adoptSigned(
	ctx context.Context, o outbox.Options, work string, r sign.Result, x outbox.Artifact,
) (outbox.Artifact, error) {
	root, err := os.OpenRoot(work)
	if err != nil {
		return outbox.Artifact{}, fmt.Errorf("landing what was signed: %w", err)
	}
	defer func() { _ = root.Close() }()
	ext := path.Ext(r.Name)
	as := path.Join(path.Dir(x.Name), strings.TrimSuffix(path.Base(x.Name), path.Ext(x.Name))+"-signed"+ext)
	return outbox.Adopt(ctx, o, root, r.Name, as, func(a *outbox.Artifact) {
		a.Origin, a.Agent = "sign", x.Agent
		a.SignedFrom, a.SignedBy = x.SHA256, r.Identity.Name
		a.Repository, a.Commit = x.Repository, x.Commit
	})
}

// findProfile returns the file of a provisioning profile that is given by file, name or UUID.
func findProfile(wanted string) (string, error) {
	if wanted == "" {
		return "", nil
	}
	if _, err := os.Stat(wanted); err == nil || strings.ContainsRune(wanted, filepath.Separator) {
		return wanted, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("looking for provisioning profiles: %w", err)
	}
	var near []string
	for _, dir := range []string{
		"Library/Developer/Xcode/UserData/Provisioning Profiles", "Library/MobileDevice/Provisioning Profiles",
	} {
		files, err := filepath.Glob(filepath.Join(home, dir, "*provision*"))
		if err != nil {
			return "", fmt.Errorf("looking for provisioning profiles: %w", err)
		}
		for _, f := range files {
			p, _, err := sign.ReadProfile(f)
			if err != nil {
				continue
			}
			if p.Name == wanted || strings.EqualFold(p.UUID, wanted) {
				return f, nil
			}
			near = append(near, p.Name)
		}
	}
	advice := "Give its file with --profile."
	if len(near) > 0 {
		advice = "Xcode has: " + strings.Join(near, ", ") + "."
	}
	return "", hint.Wrap(errors.New("there is no provisioning profile "+fmt.Sprintf("%q", wanted)), advice)
}
