package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/sign"
)

// The two lines of the cask that change from release to release.
var (
	versionLine = regexp.MustCompile(`(?m)^  version "[^"\n]*"$`)
	hashLine    = regexp.MustCompile(`(?m)^  sha256 "[0-9a-f]{64}"$`)
)

// fillCask writes version and hash of a finished disk image into the cask. It runs anywhere.
func fillCask(_ context.Context, m *sign.Mac, o order) error {
	app, err := readApp(o.app)
	if err != nil {
		return err
	}
	if err := app.released(); err != nil {
		return fmt.Errorf("writing the cask: %w", err)
	}
	f, err := os.Open(o.dmg)
	if err != nil {
		return hint.Wrap(fmt.Errorf("reading the disk image: %w", err),
			"Run `make notarize` first, and name its result: make cask DMG=build/CALMenu-1.2.3.dmg")
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("reading the disk image: %w", err)
	}
	text, err := os.ReadFile(o.cask)
	if err != nil {
		return fmt.Errorf("reading the cask: %w", err)
	}
	filled, err := fill(string(text), app.Version, fmt.Sprintf("%x", hash.Sum(nil)))
	if err != nil {
		return err
	}
	if err := atomicfile.Write(o.cask, []byte(filled), 0o644); err != nil {
		return fmt.Errorf("writing the cask: %w", err)
	}
	fmt.Fprintf(m.Say, "%s: version %s\n", o.cask, app.Version)
	return nil
}

// fill returns the cask with its one version and its one hash replaced.
func fill(cask, version, hash string) (string, error) {
	for _, line := range []struct {
		is   *regexp.Regexp
		with string
	}{
		{versionLine, fmt.Sprintf("  version %q", version)},
		{hashLine, fmt.Sprintf("  sha256 %q", hash)},
	} {
		if n := len(line.is.FindAllString(cask, -1)); n != 1 {
			return "", fmt.Errorf("writing the cask: it has %d lines like %s, want one", n, line.is)
		}
		cask = line.is.ReplaceAllLiteralString(cask, line.with)
	}
	return cask, nil
}
