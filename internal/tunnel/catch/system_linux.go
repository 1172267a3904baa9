package catch

import (
	"context"
	"syscall"
)

// sshuttleMethod is how sshuttle catches connections here.
const sshuttleMethod = "nft"

// refuseRest has what sshuttle cannot carry refused at once. The function it returns takes that back.
func refuseRest(ctx context.Context) (func(), error) {
	if err := install(ctx, rules(0, 0, networks())); err != nil {
		return func() {}, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), undoTime)
		defer cancel()
		_ = uninstall(ctx)
	}, nil
}

// endWithUs has a child end when this program is killed.
func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
