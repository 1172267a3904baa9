package guest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// seedBytes is how much fresh randomness a resumed guest is given, in bytes.
const seedBytes = 64

// renewScript steps the clock and stirs the kernel's random numbers, which were saved with the memory: two machines
// resumed from the same would otherwise draw the same ones. The order matters: what is written to /dev/random is used at
// once only after RNDRESEEDCRNG (_IO('R', 0x07) = 0x5207), for which Perl is the one way every Debian has; without it the
// kernel does so by itself within minutes.
const renewScript = `date -u -s "$0" >/dev/null || exit 1
cat >/dev/random || exit 1
perl -e 'open(my $r, ">", "/dev/random") and ioctl($r, 0x5207, 0)' 2>/dev/null || true`

// renewScriptDarwin does the same on macOS, whose kernel stirs in at once what is written to it.
const renewScriptDarwin = `date -u "$0" >/dev/null || exit 1
cat >/dev/random`

// Renew gives a guest that was resumed from saved memory what it slept through: the time, now, and randomness of its own.
// helper is the name of CALMenu's program in a Linux guest, which does it in one process; without it, or where it is not, the
// guest's own tools do.
func (c *Client) Renew(ctx context.Context, now time.Time, helper string) error {
	seed := make([]byte, seedBytes)
	_, _ = rand.Read(seed) // never fails: crypto/rand
	if helper != "" && !c.darwin() {
		argv := c.sudo(helper, "renew", fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond()))
		r, err := c.Output(ctx, Cmd{Argv: argv, Stdin: bytes.NewReader(seed), Limit: 64 << 10})
		if err == nil && r.Exit == 0 {
			return nil
		}
		if err != nil && c.Err() != nil || ctx.Err() != nil {
			return fmt.Errorf("renew resumed guest: %w", err)
		}
	}
	script, clock := renewScript, fmt.Sprintf("@%d.%09d", now.Unix(), now.Nanosecond())
	if c.darwin() {
		script, clock = renewScriptDarwin, now.UTC().Format("010215042006.05")
	}
	r, err := c.Output(ctx, Cmd{Argv: c.sudo("sh", "-c", script, clock), Stdin: bytes.NewReader(seed), Limit: 64 << 10})
	if err == nil && r.Exit != 0 {
		err = guestSaid(r)
	}
	if err != nil {
		return fmt.Errorf("renew resumed guest: %w", err)
	}
	return nil
}

// writeOutLimit bounds how long a guest may take to write out what it holds in memory.
const writeOutLimit = 10 * time.Second

// WriteOut has the guest write to its disk what it holds in memory, and runs do. A guest that does not within ten seconds
// is not waited for: what do saves of its memory has it all. do's error is returned.
func (c *Client) WriteOut(ctx context.Context, do func() error) error {
	writing, cancel := context.WithTimeout(ctx, writeOutLimit)
	_, _ = c.Output(writing, Cmd{Argv: []string{"sync"}, Limit: 4 << 10})
	cancel()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write out guest's memory: %w", err)
	}
	return do()
}
