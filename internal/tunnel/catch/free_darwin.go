package catch

import "errors"

// Free is for Linux guests.
func Free([]uint16) error { return errors.New("not on macOS") }
