package catch

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// listeners are the processes that listen on ports of the loopback.
func listeners(ports []uint16) ([]listener, error) {
	out, err := exec.Command("/usr/sbin/lsof", lsofArgs(ports)...).Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || len(exit.Stderr) > 0) { // with nothing to tell it ends with status 1
		return nil, fmt.Errorf("lsof: %w", err)
	}
	return lsofListeners(string(out))
}

func parent(pid int) (int, error) {
	out, err := exec.Command("/bin/ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}
