package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"howett.net/plist"
)

const (
	codesign = "/usr/bin/codesign"
	// adHoc signs with no identity: enough for the Mac it was built on.
	adHoc = "-"

	signAdvice = "See security find-identity -v -p codesigning for identities; unlock the keychain if it is locked; " +
		"codesign itself comes with xcode-select --install."
)

// sign signs the bundle: what is nested in it first, then the bundle around it. The hardened runtime holds for ad hoc
// signatures too, so that what a developer runs is as limited as what is released.
func sign(ctx context.Context, m *machine, o order) error {
	app, err := readApp(o.app)
	if err != nil {
		return err
	}
	if m.goos != "darwin" {
		// make app lays the bundle out anywhere; what it lacks there is said, not hidden.
		fmt.Fprintf(m.say, "%s is not signed, which needs codesign of macOS: run make app on a Mac for one to use\n", o.app)
		return nil
	}
	entitlements, err := plainEntitlements(o.entitlements)
	if err != nil {
		return err
	}
	defer os.Remove(entitlements)
	nested, err := nestedCode(o.app, app.Executable)
	if err != nil {
		return err
	}
	for _, path := range nested {
		// Entitlements are those of programs with a bundle of their own; nested code has none.
		if _, err := m.step(ctx, "signing "+path, signAdvice, signature(o.identity, "", path)...); err != nil {
			return err
		}
	}
	if _, err := m.step(ctx, "signing "+o.app, signAdvice, signature(o.identity, entitlements, o.app)...); err != nil {
		return err
	}
	_, err = m.step(ctx, "checking the signature", signAdvice,
		codesign, "--verify", "--deep", "--strict", "--verbose=2", o.app)
	return err
}

// signature returns the command that signs path. A time stamp of Apple's keeps a signature valid after its certificate
// has expired; an ad hoc signature has neither.
func signature(identity, entitlements, path string) []string {
	argv := []string{codesign, "--force", "--options", "runtime"}
	if identity == adHoc {
		argv = append(argv, "--timestamp=none")
	} else {
		argv = append(argv, "--timestamp")
	}
	if entitlements != "" {
		argv = append(argv, "--entitlements", entitlements)
	}
	return append(argv, "--sign", identity, path)
}

// plainEntitlements writes a copy without comments and returns its path: the parser in macOS' kernel, which reads them
// at each start, refuses comments (AMFIUnserializeXML: syntax error).
func plainEntitlements(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the entitlements: %w", err)
	}
	granted := map[string]any{}
	if _, err := plist.Unmarshal(text, &granted); err != nil {
		return "", fmt.Errorf("reading the entitlements: %w", err)
	}
	var plain bytes.Buffer
	if err := plist.NewEncoderForFormat(&plain, plist.XMLFormat).Encode(granted); err != nil {
		return "", fmt.Errorf("writing the entitlements: %w", err)
	}
	f, err := os.CreateTemp("", "entitlements-*.plist")
	if err != nil {
		return "", fmt.Errorf("writing the entitlements: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(plain.Bytes()); err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("writing the entitlements: %w", err)
	}
	return f.Name(), nil
}

// nestedCode lists the programs and libraries in a bundle beside its main one, innermost first. They are told by what
// is in them, not by where they are or what they are called.
func nestedCode(app, executable string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(app, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == filepath.Join(app, "Contents", "MacOS", executable) {
			return err
		}
		code, err := isCode(path)
		if code {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for programs in %s: %w", app, err)
	}
	depth := func(path string) int { return strings.Count(path, string(filepath.Separator)) }
	slices.SortStableFunc(found, func(a, b string) int { return depth(b) - depth(a) })
	return found, nil
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
