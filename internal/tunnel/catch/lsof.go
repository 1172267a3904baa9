//go:build unix

package catch

import (
	"fmt"
	"strconv"
	"strings"
)

// lsofArgs ask lsof for the processes that listen on ports of the loopback, as lines for programs (-F): of each process one with
// its number, one with its name, and for each of its sockets one with that's.
func lsofArgs(ports []uint16) []string {
	args := []string{"-nP", "-a", "-sTCP:LISTEN", "-Fpc"}
	for _, p := range ports {
		args = append(args, fmt.Sprintf("-iTCP@127.0.0.1:%d", p))
	}
	return args
}

// lsofListeners reads what lsof answers.
func lsofListeners(out string) ([]listener, error) {
	var found []listener
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		switch rest := line[1:]; line[0] {
		case 'p':
			pid, err := strconv.Atoi(rest)
			if err != nil {
				return nil, fmt.Errorf("lsof names process %q", rest)
			}
			found = append(found, listener{pid: pid})
		case 'c':
			if len(found) > 0 {
				found[len(found)-1].name = rest
			}
		}
	}
	return found, nil
}
