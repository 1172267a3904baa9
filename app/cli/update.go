package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/calmenu/calmenu/app"
)

// checkVersion asks for the newest release and says how this build compares.
func (c *cmd) checkVersion(ctx context.Context) error {
	var err error
	// `version` alone works without a readable configuration; the answer of this is kept beside it.
	if c.app, err = app.Open(app.Options{}); err != nil {
		return err
	}
	u, err := c.app.CheckUpdate(ctx)
	if err != nil {
		return err
	}
	return c.print(updateReport{Version: app.Version(), Newest: u}, func(w io.Writer) error {
		_, err := io.WriteString(w, updateLine(app.Version(), u))
		return err
	})
}

// updateReport is version --check as JSON.
type updateReport struct {
	Version string     `json:"version"`
	Newest  app.Update `json:"newest"`
}

func updateLine(version string, u app.Update) string {
	if u.Newer {
		return fmt.Sprintf("CALMenu %s is available; this is %s.\n%s\n", u.Version, version, u.URL)
	}
	return fmt.Sprintf("CALMenu %s is up to date; the newest release is %s.\n", version, u.Version)
}
