package sign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	if len(text) > maxPlist {
		return fmt.Errorf("reading a property list: it has more than %d bytes", maxPlist)
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
