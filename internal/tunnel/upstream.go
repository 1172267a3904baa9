package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"
)

// connectUpstream opens a tunnel through the host's own proxy.
func (g *Gate) connectUpstream(ctx context.Context, server *url.URL, destination string) (net.Conn, error) {
	port := server.Port()
	switch {
	case server.Scheme == "socks5" || server.Scheme == "socks5h":
		return g.connectSOCKS(ctx, server, destination)
	case server.Scheme != "http" && server.Scheme != "https":
		return nil, fmt.Errorf("the host's proxy is of kind %q; http, https and socks5 are supported", server.Scheme)
	case port == "" && server.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	conn, err := g.dialer()(ctx, "tcp", net.JoinHostPort(server.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("reach the host's proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	if server.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: server.Hostname(), MinVersion: tls.VersionTLS12})
	}
	tunnel, err := askForTunnel(conn, server, destination)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("ask the host's proxy: %w", err)
	}
	return tunnel, nil
}

// connectSOCKS opens a connection through the host's own SOCKS5 proxy, which resolves the name.
func (g *Gate) connectSOCKS(ctx context.Context, server *url.URL, destination string) (net.Conn, error) {
	port := server.Port()
	if port == "" {
		port = "1080"
	}
	var login *proxy.Auth
	if server.User != nil {
		password, _ := server.User.Password()
		login = &proxy.Auth{User: server.User.Username(), Password: password}
	}
	socks, err := proxy.SOCKS5("tcp", net.JoinHostPort(server.Hostname(), port), login, dialFunc(g.dialer()))
	if err != nil {
		return nil, fmt.Errorf("ask the host's proxy: %w", err)
	}
	conn, err := socks.(proxy.ContextDialer).DialContext(ctx, "tcp", destination)
	if err != nil {
		return nil, fmt.Errorf("ask the host's proxy: %w", err)
	}
	return conn, nil
}

// dialFunc is a way to dial for those who want one with a name.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (f dialFunc) Dial(network, address string) (net.Conn, error) {
	return f(context.Background(), network, address)
}

func (f dialFunc) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

func askForTunnel(conn net.Conn, server *url.URL, destination string) (net.Conn, error) {
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: destination}, Host: destination, Header: http.Header{},
	}
	if server.User != nil {
		password, _ := server.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(server.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+login)
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	limit := &headerLimit{r: conn, armed: true, left: maxHeader}
	in := bufio.NewReader(limit)
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, err
	}
	limit.armed = false
	if res.StatusCode != http.StatusOK {
		return nil, errors.New("it answered " + oneLine(res.Status))
	}
	return &buffered{Conn: conn, in: in}, nil
}

// buffered is a connection of which a part was read already.
type buffered struct {
	net.Conn
	in io.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.in.Read(p) }

func (b *buffered) CloseWrite() error {
	if !closeWrite(b.Conn) {
		return errors.ErrUnsupported
	}
	return nil
}
