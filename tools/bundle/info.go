package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"howett.net/plist"
)

// information is what the layout needs to know of Info.plist.
type information struct {
	Executable, Icon string // names of files in the bundle
	MinimumSystem    string // of macOS, such as 13.0
}

// release is how a version begins that git describe made of a tag. macOS compares versions by up to three numbers, and
// its older parts know no more than four and two digits of them.
var release = regexp.MustCompile(`^v?([0-9]{1,4}(?:\.[0-9]{1,2}){0,2})(?:[^0-9.]|$)`)

// stamped returns the Info.plist in source with the version written in, and what it says. macOS compares versions by up
// to three numbers; the whole version is kept in CALVersion.
func stamped(source []byte, version string) ([]byte, information, error) {
	number := release.FindStringSubmatch(version)
	if number == nil {
		return nil, information{}, fmt.Errorf(
			"stamping Info.plist: version %q does not begin with a number such as 1.2.3 (at most 9999.99.99)", version)
	}
	info := map[string]any{}
	if _, err := plist.Unmarshal(source, &info); err != nil {
		return nil, information{}, fmt.Errorf("reading Info.plist: %w", err)
	}
	said := information{
		Executable:    text(info["CFBundleExecutable"]),
		Icon:          strings.TrimSuffix(text(info["CFBundleIconFile"]), ".icns"),
		MinimumSystem: text(info["LSMinimumSystemVersion"]),
	}
	for _, name := range []string{said.Executable, said.Icon} {
		if name == "" || filepath.Base(name) != name {
			return nil, information{}, fmt.Errorf("reading Info.plist: %q is no name for the program or the icon", name)
		}
	}
	info["CFBundleShortVersionString"] = number[1]
	info["CFBundleVersion"] = number[1]
	info["CALVersion"] = version
	var out bytes.Buffer
	encoder := plist.NewEncoderForFormat(&out, plist.XMLFormat)
	encoder.Indent("\t")
	if err := encoder.Encode(info); err != nil {
		return nil, information{}, fmt.Errorf("stamping Info.plist: %w", err)
	}
	return out.Bytes(), said, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
