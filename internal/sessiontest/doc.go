// Package sessiontest proves sessions from the outside: a real tmux on this host is the person's terminal, a real
// `CALMenu session` runs in it, and the agent at its other end runs in a real guest. What is typed goes in by tmux
// send-keys, what is seen comes out by capture-pane. There is nothing in it but tests.
//
// What must hold: one machine is booted for all tests (CAL_TEST_VM=1); every test leaves a machine that can be used, or
// one that is stopped; a test waits for what is on the screen, never for time; tmux has a socket of its own, and nothing
// is left running.
//
// While writing a test, a machine can be kept between runs:
//
//	CAL_TEST_VM=1 go test ./internal/sessiontest -run TestBanner -keep /tmp/kept
//
// vttest is run on this host, below the filter alone: it is the filter that it examines, and it draws thousands of screens.
package sessiontest
