//go:build !linux

package main

import (
	"context"
	"io/fs"
	"time"
)

// measureIdle needs /proc.
func measureIdle(_ context.Context, b *bench, _ int, _ time.Duration) error {
	_, err := b.log.Write([]byte("  (the idle agent is measured on Linux only)\n"))
	return err
}

func changed(info fs.FileInfo) time.Time { return info.ModTime() }
