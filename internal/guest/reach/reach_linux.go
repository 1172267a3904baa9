package reach

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	connectTime = 3 * time.Second // for a connection
	answerTime  = 6 * time.Second // for all of an attempt
)

// Run is the helper's verb. Its arguments are the proxy's address, or nothing, and then URLs: those after "proxy" are asked
// for by the proxy, those after "direct" without it. All are tried at once.
func Run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("takes a proxy, and URLs behind the words direct or proxy")
	}
	return run(ctx, args[0], args[1:], defaultGateway("/proc/net/route"), os.Stdout)
}

func run(ctx context.Context, proxy string, args []string, gateway string, out io.Writer) error {
	if _, err := fmt.Fprintf(out, "%s%s\n", SaysGateway, gateway); err != nil {
		return err
	}
	var attempts []*attempt
	via := ""
	for _, arg := range args {
		switch arg {
		case "direct":
			via = ""
		case "proxy":
			via = proxy
		default:
			url := strings.ReplaceAll(arg, Gateway, gateway)
			if gateway == "" && url != arg {
				continue // there is none to be tried
			}
			attempts = append(attempts, &attempt{url: url, via: via})
		}
	}
	var all sync.WaitGroup
	for _, a := range attempts {
		all.Go(func() { a.ended = a.do(ctx) })
	}
	all.Wait()
	for _, a := range attempts {
		if _, err := fmt.Fprintf(out, "%s%s %s\n", SaysTried, a.ended, a.url); err != nil {
			return err
		}
	}
	return nil
}

// attempt is one URL that is asked for.
type attempt struct {
	url   string
	via   string // a proxy's address; empty: the server itself
	ended string
}

// do asks for the URL and says how that ended.
func (a *attempt) do(ctx context.Context) string {
	rest, ok := strings.CutPrefix(a.url, "http://")
	host, path, slash := strings.Cut(rest, "/")
	if !ok || !slash || strings.ContainsAny(a.url, " \r\n") {
		return "no such URL"
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	to, target := host, "/"+path
	if a.via != "" {
		to, target = a.via, a.url
	}
	dialer := net.Dialer{Timeout: connectTime}
	conn, err := dialer.DialContext(ctx, "tcp4", to)
	if err != nil {
		return why(err)
	}
	defer conn.Close()
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end)
	const request = "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := fmt.Fprintf(conn, request, target, host); err != nil {
		return why(err)
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 256)).ReadString('\n')
	words := strings.Fields(line)
	if len(words) < 2 || !strings.HasPrefix(words[0], "HTTP/") {
		if err != nil {
			return why(err)
		}
		return "no HTTP"
	}
	return "HTTP status " + words[1]
}

// why is an error in words the host knows nothing of, and shows.
func why(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "unreachable"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.Is(err, io.EOF):
		return "connection closed"
	}
	return "failed"
}

// defaultGateway is the address of the first default route's gateway in the kernel's table (proc_net_route: addresses are
// hexadecimal numbers in the processor's order); empty if there is none.
func defaultGateway(table string) string {
	text, err := os.ReadFile(table)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[1] != "00000000" || fields[7] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(fields[2])
		if err != nil || len(b) != 4 {
			continue
		}
		var addr [4]byte
		binary.NativeEndian.PutUint32(addr[:], binary.BigEndian.Uint32(b))
		if ip := netip.AddrFrom4(addr); !ip.IsUnspecified() {
			return ip.String()
		}
	}
	return ""
}
