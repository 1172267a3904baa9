// Package e2e tests the whole program as a person meets it: the built binary, a real desktop (package desktoptest), a
// real QEMU guest. It has tests only.
//
// What must hold: a test sees only what a person or a script sees: the screen, the terminal, files, exit codes, the
// documented JSON, the journal; every wait is for a condition; whatever happens, no virtual machine and no process
// outlives its test, and nothing outside the test's own folders is touched but the cache of base images.
package e2e
