package catch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// takeOver ends the program of a connection to the host that has been replaced by ours, and waits until it has put
// everything back. free lets the next one have its turn.
func takeOver() (free func(), err error) {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(stateDir+"/tunnel.pid", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Since(begun) > undoTime {
			f.Close()
			return nil, fmt.Errorf("taking over from the program of an earlier connection: %w", err)
		}
		data := make([]byte, 16)
		n, _ := f.ReadAt(data, 0)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data[:n]))); err == nil && pid > 1 && pid != os.Getpid() {
			signal := syscall.SIGTERM
			if time.Since(begun) > 2*time.Second {
				signal = syscall.SIGKILL
			}
			_ = syscall.Kill(pid, signal)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			f.Close()
			return nil, err
		}
	}
	return func() { f.Close() }, nil
}

// undoTime bounds putting things back.
const undoTime = 10 * time.Second

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
