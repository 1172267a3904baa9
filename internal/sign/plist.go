package sign

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"howett.net/plist"
)

// maxPlist bounds a property list that is read, in bytes.
const maxPlist = 1 << 20

// readPlist reads a property list out of a guest's hands.
func readPlist(tree fs.FS, name string, into any) error {
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxPlist+1))
	if err != nil {
		return err
	}
	return parsePlist(text, into)
}

// parsePlist parses a property list. The parser is fed by a guest: should it give up in its own way, that is an error.
func parsePlist(text []byte, into any) (err error) {
	if reason := unfit(text); reason != "" {
		return errors.New("reading a property list: " + reason)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("reading a property list: %v", r)
		}
	}()
	if _, err := plist.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading a property list: %w", err)
	}
	return nil
}

const (
	maxNesting = 64     // of XML's arrays and dictionaries
	maxObjects = 20_000 // of a binary list, which may be nested in each other
)

// unfit says why a property list is not given to the parser, or "". It takes time without end for some texts of the older
// formats, which nobody writes any more, and memory without end for some that are nested.
func unfit(text []byte) string {
	if len(text) > maxPlist {
		return fmt.Sprintf("it has more than %d bytes", maxPlist)
	}
	if bytes.HasPrefix(text, []byte("bplist00")) {
		const trailer = 32 // sizes, number of objects (at 8), top object, offset table
		if len(text) < trailer+8 || binary.BigEndian.Uint64(text[len(text)-trailer+8:]) > maxObjects {
			return "it has too many objects"
		}
		return ""
	}
	begin := bytes.TrimPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("\xef\xbb\xbf"))
	if !slices.ContainsFunc([]string{"<?xml", "<!DOCTYPE", "<plist"}, func(s string) bool {
		return bytes.HasPrefix(begin, []byte(s))
	}) {
		return "it is neither XML nor binary"
	}
	depth := 0
	for rest := text; ; {
		i := bytes.IndexByte(rest, '<')
		if i < 0 {
			return ""
		}
		rest = rest[i+1:]
		switch {
		case bytes.HasPrefix(rest, []byte("/")):
			depth--
		case bytes.HasPrefix(rest, []byte("dict")), bytes.HasPrefix(rest, []byte("array")):
			depth++
		case bytes.HasPrefix(rest, []byte("!")), bytes.HasPrefix(rest, []byte("?")):
		default:
			if end := bytes.IndexByte(rest, '>'); end < 1 || rest[end-1] != '/' {
				depth++
			}
		}
		if depth > maxNesting {
			return fmt.Sprintf("it is nested more than %d deep", maxNesting)
		}
	}
}

// Profile is what a provisioning profile says. Its signature is not looked at: macOS does that when it is used.
type Profile struct {
	Name         string         `plist:"Name" json:"name"`
	UUID         string         `plist:"UUID" json:"uuid"`
	Team         []string       `plist:"TeamIdentifier" json:"team"`
	Expires      time.Time      `plist:"ExpirationDate" json:"expires"`
	Platforms    []string       `plist:"Platform" json:"platforms"`
	Devices      []string       `plist:"ProvisionedDevices" json:"-"`
	AllDevices   bool           `plist:"ProvisionsAllDevices" json:"-"`
	Entitlements map[string]any `plist:"Entitlements" json:"-"`
}

// parseProfile reads the property list in a provisioning profile, which lies in the clear within a CMS message.
func parseProfile(text []byte) (Profile, error) {
	var p Profile
	start := bytes.Index(text, []byte("<?xml"))
	if start < 0 {
		return p, errors.New("reading a provisioning profile: there is no property list in it")
	}
	end := bytes.Index(text[start:], []byte("</plist>"))
	if end < 0 {
		return p, errors.New("reading a provisioning profile: its property list has no end")
	}
	if err := parsePlist(text[start:start+end+len("</plist>")], &p); err != nil {
		return p, fmt.Errorf("reading a provisioning profile: %w", err)
	}
	if p.UUID == "" || p.Name == "" {
		return p, errors.New("reading a provisioning profile: it has no name")
	}
	return p, nil
}

// method is the way of distribution that a profile is for, as export options name it. Later versions of Xcode have other
// names and take these too.
func (p Profile) method() string {
	debug, _ := p.Entitlements["get-task-allow"].(bool)
	switch {
	case p.AllDevices && len(p.Platforms) > 0 && p.Platforms[0] == "OSX":
		return "developer-id"
	case p.AllDevices:
		return "enterprise"
	case debug:
		return "development"
	case len(p.Devices) > 0:
		return "ad-hoc"
	}
	return "app-store"
}
