package renewal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Run is the helper's verb: it sets the clock to its one argument, in the form of SECONDS.NANOSECONDS since 1970, and mixes
// in the random bytes on standard input.
func Run(_ context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("takes the time")
	}
	now, err := parse(args[0])
	if err != nil {
		return err
	}
	if err := SetClock(now); err != nil { // first: it is late already
		return err
	}
	entropy, err := io.ReadAll(io.LimitReader(os.Stdin, EntropyMax))
	if err != nil {
		return fmt.Errorf("reading entropy: %w", err)
	}
	return Stir(entropy)
}

func parse(s string) (time.Time, error) {
	whole, frac, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	nsec, fracErr := strconv.ParseUint(frac, 10, 32)
	if err != nil || fracErr != nil || sec <= 0 || len(frac) != 9 {
		return time.Time{}, fmt.Errorf("%q is not a time", s)
	}
	return time.Unix(sec, int64(nsec)), nil
}

// SetClock steps the system's clock.
func SetClock(t time.Time) error {
	now := syscall.NsecToTimespec(t.UnixNano())
	const realtime = 0 // CLOCK_REALTIME
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_SETTIME, realtime, uintptr(unsafe.Pointer(&now)), 0)
	if errno != 0 {
		return fmt.Errorf("setting the clock: %w", errno)
	}
	return nil
}

// Stir mixes entropy into the kernel's random numbers and makes them depend on it at once (random(4)): two machines that go
// on from one memory would draw the same ones otherwise.
func Stir(entropy []byte) error {
	if len(entropy) == 0 || len(entropy) > EntropyMax {
		return fmt.Errorf("mixing in entropy: %d bytes of it", len(entropy))
	}
	random, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("mixing in entropy: %w", err)
	}
	defer random.Close()
	const (
		addEntropy = 0x40085203 // RNDADDENTROPY, _IOW('R', 0x03, int[2])
		reseed     = 0x5207     // RNDRESEEDCRNG, _IO('R', 0x07)
	)
	var pool struct { // struct rand_pool_info
		bits, size int32
		buf        [EntropyMax]byte
	}
	n := copy(pool.buf[:], entropy)
	pool.bits, pool.size = int32(n*8), int32(n)
	for _, request := range []struct{ code, argument uintptr }{
		{addEntropy, uintptr(unsafe.Pointer(&pool))}, {reseed, 0},
	} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, random.Fd(), request.code, request.argument); errno != 0 {
			return fmt.Errorf("mixing in entropy: %w", errno)
		}
	}
	return nil
}
