package hostproxy

import (
	"context"
	"os/exec"
	"time"
)

// systemSettings asks macOS.
func systemSettings(ctx context.Context) (*System, error) {
	cmd := exec.CommandContext(ctx, "/usr/sbin/scutil", "--proxy")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return parseScutil(string(out)), nil
}
