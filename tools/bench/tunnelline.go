package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/calmenu/calmenu/internal/tunnel"
	"github.com/calmenu/calmenu/internal/tunnel/catch"
	"github.com/calmenu/calmenu/internal/tunnel/direct"
	"github.com/calmenu/calmenu/internal/tunnel/mux"
	"github.com/calmenu/calmenu/internal/tunnel/wire"
)

// meetTime is how long the two ends of a direct connection may take to meet.
const meetTime = 20 * time.Second

// runTunnelLine is the host's end of a direct connection, in the process whose processor time is counted. It starts the
// guest's, which is told of it as over SSH.
func runTunnelLine(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errArguments
	}
	gate, err := openGate(args[1])
	if err != nil {
		return err
	}
	id, err := direct.NewIdentity()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	pin := id.Pin()
	cmd := exec.CommandContext(ctx, self, guestVerb, hex.EncodeToString(pin[:]), args[0])
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer end(cmd)
	var at wire.Place
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		return fmt.Errorf("reading where the guest's end is: %w", err)
	}
	meeting, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(meeting, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(at.Port))))
	if err != nil {
		return err
	}
	conn, err := id.Dial(meeting, raw, direct.Pin(at.Pin))
	if err != nil {
		return err
	}
	session := mux.Server(conn, bufio.NewReader(conn), mux.Network, catch.MaxStreams)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is this program's: who started it has ended
		_ = session.Close()
	}()
	fmt.Println("up")
	proxy := &tunnel.Proxy{Gate: gate}
	for {
		st, err := session.Accept()
		if err != nil {
			return nil
		}
		go proxy.ServeConn(ctx, st)
	}
}

// runTunnelGuest is the guest's end: as CALMenu's program in the guest, but that the port is its own.
func runTunnelGuest(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errArguments
	}
	host, err := hex.DecodeString(args[0])
	if err != nil || len(host) != len(direct.Pin{}) {
		return errArguments
	}
	proxy, err := net.Listen("tcp4", args[1])
	if err != nil {
		return err
	}
	id, err := direct.NewIdentity()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	pin := id.Pin()
	place := wire.Place{Port: uint16(l.Addr().(*net.TCPAddr).Port), Pin: pin[:]}
	if err := json.NewEncoder(os.Stdout).Encode(place); err != nil {
		return err
	}
	raw, err := l.Accept()
	if err != nil {
		return err
	}
	meeting, cancel := context.WithTimeout(ctx, meetTime)
	defer cancel()
	conn, err := id.Accept(meeting, raw, direct.Pin(host))
	if err != nil {
		return err
	}
	session := mux.Client(conn, bufio.NewReader(conn), mux.Network, catch.MaxStreams)
	go func() {
		<-session.Done()
		_ = proxy.Close()
	}()
	for {
		near, err := proxy.Accept()
		if err != nil {
			return nil
		}
		go func() {
			st, err := session.Open("127.0.0.1:1080")
			if err != nil {
				_ = near.Close()
				return
			}
			catch.Lead(near.(*net.TCPConn), st)
		}()
	}
}
