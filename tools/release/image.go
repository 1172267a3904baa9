package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/calmenu/calmenu/internal/sign"
)

const hdiutil = "/usr/bin/hdiutil"

// imageTries bounds how often a disk image is made: on Macs with a virus scanner or Spotlight at work, hdiutil now and
// then fails with "Resource busy".
const imageTries = 4

func makeImage(ctx context.Context, m *sign.Mac, o order) error {
	if err := onMac(m, "making the disk image", "hdiutil"); err != nil {
		return err
	}
	_, err := image(ctx, m, o)
	return err
}

// image makes the disk image and returns its path: the application, and a link to the folder to drag it into.
func image(ctx context.Context, m *sign.Mac, o order) (string, error) {
	app, err := readApp(o.app)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return "", fmt.Errorf("making the disk image: %w", err)
	}
	stage, err := os.MkdirTemp(o.out, ".image-")
	if err != nil {
		return "", fmt.Errorf("making the disk image: %w", err)
	}
	defer os.RemoveAll(stage)
	if err := os.Symlink("/Applications", filepath.Join(stage, "Applications")); err != nil {
		return "", fmt.Errorf("making the disk image: %w", err)
	}
	// ditto keeps what a signature is made over: modes, links and extended attributes.
	_, err = m.Step(ctx, "copying "+o.app, "", sign.Ditto, o.app, filepath.Join(stage, app.Name+".app"))
	if err != nil {
		return "", err
	}
	path := filepath.Join(o.out, app.image())
	argv := []string{
		hdiutil, "create", "-volname", app.Name + " " + app.Version, "-srcfolder", stage,
		"-fs", "HFS+", "-format", "UDZO", "-imagekey", "zlib-level=9", "-ov", path,
	}
	const advice = "Eject volumes called CALMenu in the Finder, and look at df -h for free space."
	for try := 1; ; try++ {
		out, err := m.Step(ctx, "making "+path, advice, argv...)
		if err == nil {
			break
		}
		if try == imageTries || !strings.Contains(out.All, "Resource busy") {
			return "", err
		}
	}
	if o.identity != adHoc {
		_, err := m.Step(ctx, "signing "+path, sign.SignAdvice, sign.Codesign, "--force", "--timestamp", "--sign", o.identity, path)
		if err != nil {
			return "", err
		}
	}
	if _, err := m.Step(ctx, "checking "+path, advice, hdiutil, "verify", path); err != nil {
		return "", err
	}
	return path, nil
}
