package sign

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"howett.net/plist"
)

// PlainEntitlements writes a copy of an entitlements file without comments into dir and returns its path: the parser in
// macOS' kernel, which reads them at each start, refuses comments (AMFIUnserializeXML: syntax error).
func PlainEntitlements(file, dir string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the entitlements: %w", err)
	}
	granted := map[string]any{}
	if err := parsePlist(text, &granted); err != nil {
		return "", fmt.Errorf("reading the entitlements: %w", err)
	}
	return writeEntitlements(granted, dir)
}

func writeEntitlements(granted map[string]any, dir string) (string, error) {
	path, err := writePlist(granted, dir, "entitlements-*.plist")
	if err != nil {
		return "", fmt.Errorf("writing the entitlements: %w", err)
	}
	return path, nil
}

// writePlist writes a property list into a new file in dir; an empty dir is that of temporary files.
func writePlist(v any, dir, pattern string) (string, error) {
	var plain bytes.Buffer
	if err := plist.NewEncoderForFormat(&plain, plist.XMLFormat).Encode(v); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Write(plain.Bytes()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return filepath.Clean(f.Name()), nil
}

// granted are the entitlements that a profile lets an application have, for the one with this identifier: a profile may
// be for several, and says so by a star.
func (p Profile) granted(bundleID string) map[string]any {
	fill := func(v any) any {
		if s, ok := v.(string); ok && strings.HasSuffix(s, ".*") {
			return strings.TrimSuffix(s, "*") + bundleID
		}
		return v
	}
	all := make(map[string]any, len(p.Entitlements))
	for key, v := range p.Entitlements {
		switch key {
		case "application-identifier", "com.apple.application-identifier":
			v = fill(v)
		case "keychain-access-groups":
			if list, ok := v.([]any); ok {
				filled := make([]any, len(list))
				for i := range list {
					filled[i] = fill(list[i])
				}
				v = filled
			}
		}
		all[key] = v
	}
	return all
}

// ReadProfile reads a provisioning profile of the host's.
func ReadProfile(file string) (Profile, []byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Profile{}, nil, fmt.Errorf("reading a provisioning profile: %w", err)
	}
	p, err := parseProfile(text)
	return p, text, err
}
