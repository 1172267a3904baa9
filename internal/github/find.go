package github

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/hint"
)

var (
	//go:embed scripts/walk.sh
	walkScript string
	//go:embed scripts/survey.sh
	surveyScript string
)

// SurveyOptions bound a look through a guest.
type SurveyOptions struct {
	Timeout time.Duration // 0: a minute
	Repos   int           // so many repositories are looked at; 0: 300
	Limit   int64         // bytes of output taken; 0: 64 MiB
}

// LookThrough finds everything in the guest's home that would be lost with it. What it cannot find out is in the survey
// as Unknown; an error is returned besides if that is because the guest could not be asked, or ctx ended. It runs one
// command in the guest, and changes nothing there.
func LookThrough(ctx context.Context, g Guest, o SurveyOptions) (Survey, error) {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Repos == 0 {
		o.Repos = 300
	}
	if o.Limit == 0 {
		o.Limit = 64 << 20
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	r, err := g.Output(limited, guest.Cmd{
		Argv:  []string{"/bin/sh", "-c", walkScript, "sh", surveyScript, strconv.Itoa(o.Repos)},
		Limit: o.Limit,
	})
	s := Parse(r.Stdout, r.Stderr, err != nil)
	s.Time = began
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() == nil && limited.Err() != nil:
		s.Reasons = append([]string{fmt.Sprintf("looking took longer than %s", o.Timeout)}, s.Reasons...)
		return s, nil
	case ctx.Err() == nil && errors.Is(err, guest.ErrLimit):
		s.Reasons = append([]string{"the guest has more to tell than is listened to"}, s.Reasons...)
		return s, nil
	}
	return s, hint.Wrap(fmt.Errorf("looking for work at risk: %w", err),
		"What could not be found out counts as work at risk.")
}
