package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// set changes a machine's configuration, running or not (rows 41-45).
func set(_ context.Context, h *home, a *arguments) error {
	m, err := h.open(a.positionals[0])
	if err != nil {
		return err
	}
	c, err := m.config()
	if err != nil {
		return err
	}
	if err := setResources(&c, a); err != nil {
		return err
	}
	c.DisplayRefit = nil
	if a.flags["--display-refit"] || a.flags["--no-display-refit"] {
		refit := a.flags["--display-refit"]
		c.DisplayRefit = &refit
	}
	if a.has("--random-mac") {
		c.MACAddress = randomMAC()
	}
	if a.has("--random-serial") && c.OS == "darwin" {
		c.ECID = randomECID()
	}
	// A running machine's lock must survive this, as it does: only files the holder itself closes end it.
	if err := m.save(c); err != nil {
		return err
	}
	return m.growDisk(a)
}

func setResources(c *config, a *arguments) error {
	if a.has("--cpu") {
		n, err := a.number("--cpu", "")
		if err != nil {
			return err
		}
		if n < c.CPUCountMin {
			return failC("LessThanMinimalResourcesError: VM should have %d CPU cores at minimum (requested %d)",
				c.CPUCountMin, n)
		}
		c.CPUCount = n
	}
	if a.has("--memory") {
		v := a.last("--memory", "")
		mib, err := strconv.ParseInt(v, 10, 32)
		if err != nil || mib < 0 {
			return failUsage(a.command, "The value '%s' is invalid for '--memory <memory>'", v)
		}
		if mib<<20 < c.MemorySizeMin {
			return failC("LessThanMinimalResourcesError: VM should have %d bytes of memory at minimum (requested %d)",
				c.MemorySizeMin, mib<<20)
		}
		c.MemorySize = mib << 20
	}
	return nil
}

// growDisk runs after the configuration is saved (row 42).
func (m machine) growDisk(a *arguments) error {
	if !a.has("--disk-size") {
		return nil
	}
	gb, err := a.number("--disk-size", "")
	if err != nil {
		return err
	}
	info, err := os.Stat(m.file("disk.img"))
	if err != nil {
		return err
	}
	now := info.Size() / 1e9
	if int64(gb) < now {
		return failA(1, "new disk size of %d GB should be larger than the current disk size of %d GB", gb, now)
	}
	return os.Truncate(m.file("disk.img"), max(int64(gb)*1e9, info.Size()))
}

// leases is where the double's DHCP server remembers, by MAC address; leases outlive the machines (row 48).
func (h *home) lease(mac string) string {
	return h.path("double-leases", strings.ReplaceAll(mac, ":", "-"))
}

// ip looks a lease up until there is one or the time is over (rows 45-48).
func ip(ctx context.Context, h *home, a *arguments) error {
	wait, err := a.number("--wait", "0")
	if err != nil {
		return err
	}
	resolver, err := a.choice("--resolver", "dhcp", "arp", "agent")
	if err != nil {
		return err
	}
	m, err := h.open(a.positionals[0])
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(seconds(float64(wait))); ; {
		c, err := m.config()
		if err != nil {
			return err
		}
		if addr, err := os.ReadFile(h.lease(c.MACAddress)); err == nil && (resolver != "agent" || m.holder() != 0) {
			fmt.Println(string(addr))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(seconds(1)):
		}
		if !time.Now().Before(deadline) {
			return noAddress(m, resolver)
		}
	}
}

func noAddress(m machine, resolver string) error {
	text := "no IP address found"
	if m.holder() == 0 {
		text += ", is your VM running?"
	}
	if resolver == "agent" {
		text += " (also make sure that Guest agent for Tart is running inside of a VM)"
	}
	return failA(1, "%s", text)
}
