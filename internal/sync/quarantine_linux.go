package sync

import "os"

// quarantine does nothing here: what lands is not executable instead (Options.Executable).
func quarantine(*os.File, string) error { return nil }
