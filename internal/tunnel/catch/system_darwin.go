package catch

import (
	"context"
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
