package hostproxy

import (
	"net"
	"strings"
)

// parseScutil reads what `scutil --proxy` prints: the proxy settings of the network macOS uses now.
func parseScutil(out string) *System {
	values := map[string]string{}
	var exceptions []string
	depth, list := 0, ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, " : ")
		switch {
		case line == "}":
			depth--
			list = ""
		case strings.HasSuffix(line, "{"):
			depth++
			if depth == 2 {
				list = key
			}
		case depth == 1:
			values[key] = value
		case depth == 2 && list == "ExceptionsList":
			exceptions = append(exceptions, value)
		}
	}
	on := func(key string) bool { return values[key] == "1" }
	address := func(kind string) string {
		host, port := values[kind+"Proxy"], values[kind+"Port"]
		if !on(kind+"Enable") || host == "" {
			return ""
		}
		if port == "" {
			port = map[string]string{"SOCKS": "1080"}[kind]
		}
		if port == "" {
			port = "80"
		}
		return net.JoinHostPort(host, port)
	}
	y := &System{
		HTTP: address("HTTP"), HTTPS: address("HTTPS"), SOCKS: address("SOCKS"),
		AutoDiscovery: on("ProxyAutoDiscoveryEnable"), Exceptions: exceptions, ExceptSimple: on("ExcludeSimpleHostnames"),
	}
	if on("ProxyAutoConfigEnable") {
		y.PAC = values["ProxyAutoConfigURLString"]
	}
	return y
}
