package main

import (
	"context"
	"errors"
	"fmt"
)

const (
	fast, stock = "bench", "bench-stock"
	// stockImage is Debian as its packages leave it: own initrd, full systemd.
	stockImage = "debian-12-stock"
)

// loop measures the way around: boot, launch, artifact, rollback, and what the agent costs meanwhile. What one measure
// needs of another is its cold boot; a measure that fails takes none of the others with it.
func loop(ctx context.Context, b *bench) (err error) {
	c, err := newCAL(b)
	if err != nil {
		return err
	}
	var made []string
	defer func() { err = errors.Join(err, c.remove(made...)) }()
	for _, w := range []struct{ name, image string }{{fast, ""}, {stock, stockImage}} {
		b.progress("making workspace %s (its base image too, if that is missing)", w.name)
		made = append(made, w.name)
		if err := c.create(ctx, w.name, w.image); err != nil {
			return err
		}
	}
	coldStart, err := measureBoot(ctx, b, c)
	if err != nil {
		return err
	}
	failed := measureLaunch(ctx, b, c)
	if _, _, err := c.run(ctx, "start", fast); err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(failed,
		measureStatus(ctx, b, c),
		measureArtifacts(ctx, b, c),
		measureIdle(ctx, b, c),
		measureRollback(ctx, b, c, coldStart))
}

func (c *cal) create(ctx context.Context, name, image string) error {
	env := c.env
	defer func() { c.env = env }()
	if image != "" {
		c.env = append(append([]string(nil), env...), "CAL_VM_BASE_IMAGE="+image)
	}
	_, _, err := c.run(ctx, "new", name)
	return err
}

// boot starts a stopped workspace and returns its boot and the whole verb's time, in seconds.
func (c *cal) boot(ctx context.Context, name string) (boot, verb float64, err error) {
	_, whole, err := c.run(ctx, "start", name)
	if err != nil {
		return 0, 0, err
	}
	events, err := c.journal(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	took, err := bootToSSH(events)
	return took.Seconds(), whole.Seconds(), err
}

// measureBoot boots both guests in turns, so that the machine's moods meet both. It returns what `CALMenu start` took.
func measureBoot(ctx context.Context, b *bench, c *cal) (coldStart []float64, err error) {
	seconds := map[string][]float64{}
	evidence := ""
	for range b.runs {
		for _, name := range []string{fast, stock} {
			took, whole, err := c.boot(ctx, name)
			if err != nil {
				return nil, err
			}
			b.progress("boot of %s: %.1f s to SSH, %.1f s in all", name, took, whole)
			seconds[name] = append(seconds[name], took)
			if name == fast {
				coldStart = append(coldStart, whole)
				guest, err := c.openSSH(ctx, name)
				if err != nil {
					return nil, err
				}
				evidence = guest.evidence
			}
			if _, _, err := c.run(ctx, "stop", name); err != nil {
				return nil, err
			}
		}
	}
	b.add(Figure{
		Name: "boot to SSH", Value: median(seconds[fast]), Unit: "s", Target: &Target{Max: 0.45, OfRatio: true},
		Note: fmt.Sprintf("%s; peer %s; in turns; %s", spread(seconds[fast]), spread(seconds[stock]), accelerator(evidence)),
	}.against("stock Debian", median(seconds[stock])))
	return coldStart, nil
}

func measureStatus(ctx context.Context, b *bench, c *cal) error {
	var ms []float64
	for range 20 {
		_, took, err := c.run(ctx, "status", fast, "--json")
		if err != nil {
			return err
		}
		ms = append(ms, float64(took.Microseconds())/1000)
	}
	b.add(Figure{Name: "status --json", Value: median(ms), Unit: "ms", Target: &Target{Max: 50}, Note: spread(ms)})
	return nil
}

// measureRollback rolls the running guest back. The peer is a cold boot of the same guest by the same program: what a
// rollback does beyond that is stopping the machine and swapping its disk.
func measureRollback(ctx context.Context, b *bench, c *cal, coldStart []float64) error {
	if _, _, err := c.run(ctx, "snapshot", "create", fast, "--name", "bench"); err != nil {
		return err
	}
	var seconds []float64
	for range b.runs {
		_, took, err := c.run(ctx, "rollback", fast, "--to", "bench", "--yes")
		if err != nil {
			return err
		}
		b.progress("rollback: %.1f s", took.Seconds())
		seconds = append(seconds, took.Seconds())
	}
	b.add(Figure{
		Name: "rollback to SSH", Value: median(seconds), Unit: "s",
		Note: spread(seconds) + "; VM running before and after, isolation checks are in both",
	}.against("CALMenu start, cold", median(coldStart)))
	return nil
}
