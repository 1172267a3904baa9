package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/calmenu/calmenu/internal/tunnel/catch"
)

// tunnel leads the guest's connections to the host.
func tunnel(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("tunnel", flag.ContinueOnError)
	method := f.String("method", catch.Auto, "auto, redirect or sshuttle")
	port := f.Uint("port", 0, "port that leads redirected connections to the host")
	stream := f.Uint("stream", 0, "port that leads sshuttle to its server")
	serial := f.String("serial", "", "serial port for redirected connections, when the host says so")
	proxied := f.String("proxy", "", "ports of the proxy, with commas: what is said to it goes over the serial port too")
	if err := f.Parse(args); err != nil {
		return err
	}
	p, err := ports(fmt.Sprint(*port), fmt.Sprint(*stream))
	if err != nil {
		return err
	}
	var proxy []uint16
	if *proxied != "" {
		if proxy, err = ports(strings.Split(*proxied, ",")...); err != nil {
			return err
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	o := catch.Options{Method: *method, Port: p[0], Stream: p[1], Serial: *serial, Program: program, Proxy: proxy}
	return catch.Run(ctx, o, os.Stdin, os.Stdout)
}

// pipe PORT is what sshuttle starts for SSH; it is also given a host and a command, as SSH is.
func pipe(ctx context.Context, args []string) error {
	p, err := ports(args[:min(1, len(args))]...)
	if err != nil {
		return err
	}
	return catch.Pipe(ctx, p[0], os.Stdin, os.Stdout)
}

// free PORT... frees ports that servers of dead connections hold.
func free(_ context.Context, args []string) error {
	p, err := ports(args...)
	if err != nil {
		return err
	}
	return catch.Free(p)
}

// proxy COMMAND [METHOD] is behind proxy-start and the like.
func proxy(ctx context.Context, args []string) error {
	return catch.Command(ctx, args, os.Stdout)
}

func ports(args ...string) ([]uint16, error) {
	if len(args) == 0 {
		return nil, errors.New("a port is missing")
	}
	var list []uint16
	for _, a := range args {
		n, err := strconv.ParseUint(a, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a port", a)
		}
		list = append(list, uint16(n))
	}
	return list, nil
}
