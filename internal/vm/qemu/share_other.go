//go:build !linux

package qemu

import "errors"

func shareProblem() string { return "virtiofsd is a program for Linux" }

func (m *machine) serveShare(dir string) (end func(), err error) {
	if dir != "" {
		return nil, errors.New(shareProblem())
	}
	return func() {}, nil
}

func findShare(int) (sharing, bool) { return sharing{}, false }
