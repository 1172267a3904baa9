//go:build cgo

package statusicon

// trayHost: macOS always has a menu bar for a program in a login session.
func trayHost() (bool, string) { return true, "" }
