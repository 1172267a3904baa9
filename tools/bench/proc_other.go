//go:build !linux

package main

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// watchProcess needs /proc.
func watchProcess(context.Context, int, time.Duration) (percent, mb float64, err error) {
	return 0, 0, errors.New("the idle agent is measured on Linux only")
}

// usedBy needs /proc, too.
func usedBy(int) (float64, error) {
	return 0, errors.New("processor time is measured on Linux only")
}

func changed(info fs.FileInfo) time.Time { return info.ModTime() }
