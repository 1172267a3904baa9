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
)

// connectUpstream opens a tunnel through the host's own proxy.
func (g *Gate) connectUpstream(ctx context.Context, proxy *url.URL, destination string) (net.Conn, error) {
	port := proxy.Port()
	switch {
	case proxy.Scheme != "http" && proxy.Scheme != "https":
		return nil, fmt.Errorf("the host's proxy is of kind %q; http and https are supported", proxy.Scheme)
	case port == "" && proxy.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	conn, err := g.dialer()(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("reach the host's proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	if proxy.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
	}
	tunnel, err := askForTunnel(conn, proxy, destination)
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

func askForTunnel(conn net.Conn, proxy *url.URL, destination string) (net.Conn, error) {
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Opaque: destination}, Host: destination, Header: http.Header{},
	}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		login := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
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
