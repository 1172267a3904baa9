// Package sign signs what a guest has built, on the host, with the programs of macOS: codesign, productsign, xcodebuild,
// notarytool, stapler. It also says what is to be signed: bundle, version, profile.
//
// What must hold here: keys and passwords are the keychain's, and no argument, file or environment of ours holds one; what
// a guest made is signed in a copy that no guest can reach; no link leads out of that copy; what a guest named is never
// an option of a program (all paths are absolute); nothing a guest made is run.
package sign

import (
	"path"
	"strings"
)

// Kind is what can be signed, and how.
type Kind string

// The kinds of artifact that can be signed.
const (
	App       Kind = "app"       // codesign, inside out
	Archive   Kind = "xcarchive" // xcodebuild -exportArchive
	IPA       Kind = "ipa"       // its application, as App
	DiskImage Kind = "dmg"       // codesign
	Package   Kind = "pkg"       // productsign
)

// KindOf tells by its name what an artifact is; "" if it cannot be signed.
func KindOf(name string) Kind {
	switch k := Kind(strings.TrimPrefix(strings.ToLower(path.Ext(name)), ".")); k {
	case App, Archive, IPA, DiskImage, Package:
		return k
	}
	return ""
}
