//go:build darwin && !cgo

package statusicon

import "time"

// noBackend stands in where AppKit cannot be reached, so that everything else still builds without a C compiler.
type noBackend struct{}

func newBackend() backend { return noBackend{} }

func (noBackend) available() (bool, string) {
	return false, "this build has no menu bar (built without cgo)"
}
func (noBackend) run(func())                        {}
func (noBackend) quit()                             {}
func (noBackend) apply(op, func(), <-chan struct{}) {}
func (noBackend) settle() time.Duration             { return 0 }
func (noBackend) icon(Status)                       {}
func (noBackend) name(string)                       {}
func (noBackend) tooltip(string)                    {}
