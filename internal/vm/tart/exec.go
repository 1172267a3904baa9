package tart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/calmenu/calmenu/internal/vm"
)

var (
	_ vm.Execer     = (*Driver)(nil)
	_ vm.PortDialer = (*Driver)(nil)
)

// maxExecOutput bounds what a command in the guest may say, in bytes: it is hostile.
const maxExecOutput = 1 << 20

// Exec implements vm.Execer by the guest agent. Its exit code is the command's (row 50); an agent that does not answer
// makes it an error (row 53), told apart from a command's own exit code 1 by what tart says.
func (d *Driver) Exec(ctx context.Context, name string, argv []string, stdin io.Reader) ([]byte, int, error) {
	if err := vm.ValidName(name); err != nil {
		return nil, -1, err
	}
	if err := d.checkRunning(name); err != nil {
		return nil, -1, fmt.Errorf("running a command in %q: %w", name, err)
	}
	if err := d.checkVersion(ctx); err != nil {
		return nil, -1, err
	}
	stdin, closeIn, err := d.input(stdin)
	if err != nil {
		return nil, -1, fmt.Errorf("running a command in %q: %w", name, err)
	}
	defer closeIn()
	args := []string{"exec"}
	if stdin != nil {
		args = append(args, "-i") // options come before the name (row 51)
	}
	cmd := d.command(ctx, append(append(args, machineName(name)), argv...)...)
	out, errs := limitedBuffer{limit: maxExecOutput}, limitedBuffer{limit: 64 << 10}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, -1, fmt.Errorf("running a command in %q: %w", name, ctx.Err())
	case out.over:
		return nil, -1, fmt.Errorf("running a command in %q: it printed more than %d bytes", name, maxExecOutput)
	}
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) && exit.ExitCode() >= 0 && !tartsOwn(errs.String()) {
		return out.Bytes(), cmd.ProcessState.ExitCode(), nil
	}
	return nil, -1, fmt.Errorf("running a command in %q: %w", name, explain(asCLIError("exec", err, errs.String())))
}

// tartsOwn tells tart's own complaints from what a command in the guest printed on standard error.
func tartsOwn(text string) bool {
	for _, sign := range []string{"Error: ", "Failed to connect to the VM using its control socket", "the specified VM "} {
		if strings.HasPrefix(text, sign) {
			return true
		}
	}
	return strings.HasPrefix(text, `VM "`) && strings.Contains(text, "is not running")
}
