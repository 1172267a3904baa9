package provision

import (
	"crypto/rand"
	"encoding/base64"
)

// NewPassword makes a password of at least 128 bits, of letters and digits only: no shell, dscl or security has to be
// told how to read it.
func NewPassword() string { return rand.Text() }

// kcKey is what macOS disguises the password of the automatic log-in with, in /etc/kcpassword.
var kcKey = [...]byte{0x7d, 0x89, 0x52, 0x23, 0xd2, 0xbc, 0xdd, 0xea, 0xa3, 0xb9, 0x1f}

// KCPassword is /etc/kcpassword for a password: ended by a NUL byte, filled to a multiple of 12 bytes, disguised.
func KCPassword(password string) []byte {
	b := make([]byte, (len(password)/12+1)*12)
	copy(b, password)
	for i := range b {
		b[i] ^= kcKey[i%len(kcKey)]
	}
	return b
}

// kcPrefix is how the file of a password begins in base64, up to where others fill it differently.
func kcPrefix(password string) string {
	known := (len(password) + 1) / 3 * 3
	return base64.StdEncoding.EncodeToString(KCPassword(password)[:known])
}

// StockVars are the variables that tell steps of an image's own password, which everybody knows.
func StockVars(password string) map[string]string {
	return map[string]string{"stock_password": password, "stock_kcpassword": kcPrefix(password)}
}

// PasswordInput is what a step with the input Password reads.
func PasswordInput(password string) []byte {
	return []byte(password + "\n" + base64.StdEncoding.EncodeToString(KCPassword(password)) + "\n")
}
