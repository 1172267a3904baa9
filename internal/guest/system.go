package guest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// sudo prefixes a command that only the guest's root may run. It never asks: a guest that wants a password is an error.
func (c *Client) sudo(argv ...string) []string {
	if c.options.User == "root" {
		return argv
	}
	return append([]string{"sudo", "-n"}, argv...)
}

// GuestOS is the guest's operating system: "linux" or "darwin".
func (c *Client) GuestOS() string { return c.options.GuestOS }

func (c *Client) darwin() bool { return c.options.GuestOS == "darwin" }

// ClockGood is how far a guest's clock may be off this host's and be right.
const ClockGood = 2 * time.Second

// clockTries is how often a clock is stepped until it is right.
const clockTries = 3

// CorrectClock steps the guest's clock to this host's if it is not right. A guest that takes long to obey was told a time that
// is past by then: it is looked at again.
func (c *Client) CorrectClock(ctx context.Context) error { return correctClock(ctx, c) }

// clock is a guest's. *Client has it.
type clock interface {
	ClockSkew(ctx context.Context) (time.Duration, error)
	SetClock(ctx context.Context, t time.Time) error
}

func correctClock(ctx context.Context, c clock) error {
	for range clockTries {
		skew, err := c.ClockSkew(ctx)
		if err != nil || skew.Abs() < ClockGood {
			return err
		}
		if err := c.SetClock(ctx, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// SetClock steps the guest's clock to t, as good as the trip there allows (whole seconds on macOS).
func (c *Client) SetClock(ctx context.Context, t time.Time) error {
	argv := []string{"date", "-u", "-s", fmt.Sprintf("@%d.%09d", t.Unix(), t.Nanosecond())}
	if c.darwin() {
		argv = []string{"date", "-u", t.UTC().Format("010215042006.05")}
	}
	r, err := c.Output(ctx, Cmd{Argv: c.sudo(argv...), Limit: 64 << 10})
	if err == nil && r.Exit != 0 {
		err = guestSaid(r)
	}
	if err != nil {
		return fmt.Errorf("set guest's clock: %w", err)
	}
	return nil
}

// ClockSkew is how far the guest's clock is ahead of this host's; half the round trip is its error, and up to a second
// on macOS.
func (c *Client) ClockSkew(ctx context.Context) (time.Duration, error) {
	format := "+%s.%N"
	if c.darwin() {
		format = "+%s"
	}
	before := time.Now()
	r, err := c.Output(ctx, Cmd{Argv: []string{"date", format}, Limit: 4 << 10})
	trip := time.Since(before)
	if err == nil && r.Exit != 0 {
		err = guestSaid(r)
	}
	if err != nil {
		return 0, fmt.Errorf("read guest's clock: %w", err)
	}
	now, err := parseUnix(strings.TrimSpace(string(r.Stdout)))
	if err != nil {
		return 0, fmt.Errorf("read guest's clock: %w", err)
	}
	return now.Sub(before.Add(trip / 2)), nil
}

// parseUnix reads "seconds" or "seconds.nanoseconds" as date prints them.
func parseUnix(s string) (time.Time, error) {
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	// Beyond these years a difference of times overflows.
	if err != nil || sec < 0 || sec > 1<<33 {
		return time.Time{}, fmt.Errorf("%q is not a time", printable(s, 40))
	}
	var nsec int64
	if frac != "" {
		if nsec, err = strconv.ParseInt(frac, 10, 64); err != nil || len(frac) != 9 || nsec < 0 {
			return time.Time{}, fmt.Errorf("%q is not a time", printable(s, 40))
		}
	}
	return time.Unix(sec, nsec), nil
}

// PowerOff asks the guest to shut down cleanly. It returns when the guest has agreed or the connection broke because it
// did; the machine itself ends some time later.
func (c *Client) PowerOff(ctx context.Context) error {
	argv := []string{"systemctl", "poweroff"}
	if c.darwin() {
		argv = []string{"shutdown", "-h", "now"}
	}
	if err := c.Err(); err != nil {
		return fmt.Errorf("power guest off: %w", err)
	}
	r, err := c.Output(ctx, Cmd{Argv: c.sudo(argv...), Limit: 64 << 10})
	var signal *SignalError
	switch {
	case errors.Is(err, ErrLost), errors.As(err, &signal), missingExit(err):
		// The guest went down while the command ran.
		return nil
	case err == nil && r.Exit != 0:
		err = guestSaid(r)
	}
	if err != nil {
		return fmt.Errorf("power guest off: %w", err)
	}
	return nil
}
