package catch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// sshuttleMethod is how sshuttle catches connections here.
const sshuttleMethod = "pf"

// refuseRest does nothing: sshuttle owns the packet filter's anchor, and what it does not catch goes where the machine's
// own network leads.
func refuseRest(context.Context) (func(), error) { return func() {}, nil }

// awaitRules waits a moment: sshuttle says that it is connected a little before its rules are there.
func awaitRules(ctx context.Context) { pause(ctx, time.Second) }

// awaitNoRules waits a moment: a process that sshuttle leaves behind takes its rules back.
func awaitNoRules() { pause(context.Background(), time.Second) }

func endWithUs() *syscall.SysProcAttr { return nil }

var errNoRedirect = errors.New("macOS cannot tell where a connection that its SSH server holds wanted to go")

// wantedTo is for what is redirected, which nothing is.
func wantedTo(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, errNoRedirect }

// startRedirect: pf can redirect too, but who asks it where a connection wanted to go has to hold the connection. The SSH
// server does until there is a line, and a method is chosen before that.
func (*keeper) startRedirect(context.Context) (method, error) {
	return nil, errNoRedirect
}
