package catch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
)

// nft is Linux's packet filter.
type nft struct{}

func openFilter(ctx context.Context) (filter, error) { return nft{}, install(ctx, nftTracking) }

func (nft) lead(ctx context.Context, t target) error { return install(ctx, nftRules(t)) }
func (nft) clear(ctx context.Context) error          { return uninstall(ctx, table) }

func (nft) close(ctx context.Context) error {
	return errors.Join(uninstall(ctx, table), uninstall(ctx, trackingTable))
}

// wanted asks for SO_ORIGINAL_DST of netfilter_ipv4.h.
func (nft) wanted(conn *net.TCPConn) (to netip.AddrPort, err error) {
	const originalDst = 80
	raw, err := conn.SyscallConn()
	if err != nil {
		return to, err
	}
	var name *syscall.IPv6Mreq // holds a sockaddr_in as well
	cerr := raw.Control(func(fd uintptr) {
		name, err = syscall.GetsockoptIPv6Mreq(int(fd), syscall.IPPROTO_IP, originalDst)
	})
	if err = errors.Join(cerr, err); err != nil {
		return to, err
	}
	b := name.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])), nil
}

func install(ctx context.Context, text string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	return quiet(cmd)
}

func uninstall(ctx context.Context, table string) error {
	return install(ctx, fmt.Sprintf("table inet %[1]s\ndelete table inet %[1]s\n", table))
}

func quiet(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		first, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, first)
	}
	return nil
}
