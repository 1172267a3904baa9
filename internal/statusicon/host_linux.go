package statusicon

import (
	"context"
	"os"
	"time"

	"github.com/calmenu/calmenu/internal/desktop/sessionbus"
)

func trayHost() (bool, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return sessionbus.TrayHost(ctx, os.Getenv)
}
