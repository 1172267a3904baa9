package catch

import (
	"bytes"
	"context"
	"os/exec"
	"syscall"
	"time"
)

// sshuttleMethod is how sshuttle catches connections here.
const sshuttleMethod = "nft"

// refuseRest has what sshuttle cannot carry refused at once. The function it returns takes that back.
func refuseRest(ctx context.Context) (func(), error) {
	if err := install(ctx, nftRules(target{kept: networks()})); err != nil {
		return func() {}, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), undoTime)
		defer cancel()
		_ = uninstall(ctx, table)
	}, nil
}

// endWithUs has a child end when this program is killed.
func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

// awaitRules waits, for a while, until sshuttle has told the kernel what to catch.
func awaitRules(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	for ctx.Err() == nil {
		out, err := exec.CommandContext(ctx, "nft", "list", "ruleset").Output()
		if err != nil || bytes.Contains(out, []byte("ip daddr 0.0.0.0/0 redirect")) { // the last one
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// awaitNoRules waits, for a while, until sshuttle has taken its rules back, which a process it leaves behind does.
func awaitNoRules() {
	ctx, cancel := context.WithTimeout(context.Background(), undoTime)
	defer cancel()
	for ctx.Err() == nil {
		out, err := exec.CommandContext(ctx, "nft", "list", "tables").Output()
		if err != nil || !bytes.Contains(out, []byte(" sshuttle-")) {
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}
