package desktop

import (
	"context"
	"os"

	"github.com/calmenu/calmenu/internal/desktop/sessionbus"
)

// TrayAvailable says whether a panel shows status icons (org.kde.StatusNotifierWatcher is on the session bus), and if not,
// why.
func TrayAvailable(ctx context.Context) (bool, string) { return sessionbus.TrayHost(ctx, os.Getenv) }
