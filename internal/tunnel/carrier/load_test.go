package carrier

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/calmenu/calmenu/internal/nettest"
)

// The test's own program also is the program that makes connections in the box: CAL_TEST_LOAD says which.
func TestMain(m *testing.M) {
	if what := os.Getenv("CAL_TEST_LOAD"); what != "" {
		if err := load(what); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Programs built with the race detector end without waiting a second for its last words.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	// Tests wait more than they work.
	_ = flag.Set("test.parallel", "4")
	goleak.VerifyTestMain(m)
}

// load runs one kind of load on a server at CAL_TEST_TARGET, usually 8.8.8.8:7, with CAL_TEST_N of it.
func load(what string) error {
	n := nettest.Count("CAL_TEST_N", 1)
	switch what {
	case "many":
		return many(n, nettest.Count("CAL_TEST_WIDTH", 50))
	case "bulk":
		return bulk(io.LimitReader(rand.Reader, int64(n)<<20), func() {})
	case "names":
		return lookups(n)
	case "idle":
		return idle()
	case "busy":
		return busy()
	}
	if f := endings[what]; f != nil {
		return f()
	}
	return errors.New("no such load")
}

var target = cmp.Or(os.Getenv("CAL_TEST_TARGET"), "8.8.8.8:7")

func many(all, width int) error {
	var failed atomic.Int32
	var first atomic.Value
	var wg sync.WaitGroup
	places := make(chan struct{}, width)
	for i := range all {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			err := exchange(strings.Repeat(fmt.Sprintf("%d ", i), 1+i%99))
			if err != nil {
				failed.Add(1)
				first.CompareAndSwap(nil, err.Error())
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		return fmt.Errorf("%d of %d failed, the first: %v", failed.Load(), all, first.Load())
	}
	return nil
}

// opening bounds how many connections are being opened at once: stock sshuttle listens with a backlog of 10, and what comes
// faster than it accepts is reset.
var opening = make(chan struct{}, 8)

func exchange(text string) error {
	conn, err := greeted()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	got, err := io.ReadAll(conn)
	if err == nil && string(got) != text {
		err = fmt.Errorf("sent %d bytes, got %d", len(text), len(got))
	}
	return err
}

// greeted opens a connection and has a first word echoed.
func greeted() (*net.TCPConn, error) {
	opening <- struct{}{}
	defer func() { <-opening }()
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return nil, err
	}
	word := []byte("hello")
	if _, err = conn.Write(word); err == nil {
		_, err = io.ReadFull(conn, word)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// bulk has bytes echoed until there are no more. It says when it is connected.
func bulk(from io.Reader, connected func()) error {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer conn.Close()
	connected()
	up, down := sha256.New(), sha256.New()
	sent := make(chan error, 1)
	var size int64
	go func() {
		var err error
		size, err = io.Copy(io.MultiWriter(up, conn), from)
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		sent <- err
	}()
	n, err := io.Copy(down, conn)
	if err = errors.Join(err, <-sent); err != nil {
		return err
	}
	if n != size || !bytes.Equal(up.Sum(nil), down.Sum(nil)) {
		return fmt.Errorf("%d bytes of %d came back, or others", n, size)
	}
	return nil
}

// lookups asks for names as fast as it can; some questions may be lost, as in any DNS, but not all, and none for ever.
func lookups(n int) error {
	var found, missing, lost atomic.Int32
	var wg sync.WaitGroup
	places := make(chan struct{}, 100)
	for i := range n {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			name := "good.test"
			if i%2 == 1 {
				name = fmt.Sprintf("n%d.missing.test", i)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_, err := (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip4", name)
			var dns *net.DNSError
			switch {
			case err == nil:
				found.Add(1)
			case errors.As(err, &dns) && dns.IsNotFound:
				missing.Add(1)
			default:
				lost.Add(1)
			}
		})
	}
	wg.Wait()
	fmt.Printf("%d found, %d missing, %d lost\n", found.Load(), missing.Load(), lost.Load())
	if int(lost.Load()) > n/4 {
		return errors.New("too many were lost")
	}
	return nil
}

// idle keeps a connection that says nothing until standard input ends, and then uses it.
func idle() error {
	conn, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if _, err := io.WriteString(conn, "still here"); err != nil {
		return err
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(conn)
	if err == nil && string(got) != "still here" {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

// busy has bytes echoed until standard input ends.
func busy() error {
	var ended atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ended.Store(true)
	}()
	return bulk(reading(func(b []byte) (int, error) {
		if ended.Load() {
			return 0, io.EOF
		}
		return rand.Read(b)
	}), func() { fmt.Println("open") })
}

type reading func([]byte) (int, error)

func (r reading) Read(b []byte) (int, error) { return r(b) }
