package reach

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Every address is tried, directly, by the gateway, and through the proxy, and each is accounted for.
func TestRun(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var heard []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, r.Host+r.URL.Path)
	}))
	defer server.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, "proxy "+r.URL.String())
		w.WriteHeader(http.StatusForbidden)
	}))
	defer proxy.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	_ = closed.Close()

	open := strings.TrimPrefix(server.URL, "http://")
	_, port, _ := net.SplitHostPort(open)
	var out strings.Builder
	args := []string{
		"direct", "http://" + nobody + "/s/direct", "http://" + open + "/s/direct", "http://GATEWAY:" + port + "/s/direct-GATEWAY:" + port,
		"https://is-none/", "proxy", "http://" + open + "/s/proxy",
	}
	if err := run(t.Context(), strings.TrimPrefix(proxy.URL, "http://"), args, "127.0.0.1", &out); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`gateway 127.0.0.1
tried connection refused http://%[1]s/s/direct
tried HTTP status 200 http://%[2]s/s/direct
tried HTTP status 200 http://%[2]s/s/direct-%[2]s
tried no such URL https://is-none/
tried HTTP status 403 http://%[2]s/s/proxy
`, nobody, open)
	if out.String() != want {
		t.Errorf("it says\n%s, want\n%s", out.String(), want)
	}
	for _, h := range []string{open + "/s/direct", open + "/s/direct-" + open, "proxy http://" + open + "/s/proxy"} {
		if !strings.Contains(strings.Join(heard, "\n"), h) {
			t.Errorf("%q was not heard: %q", h, heard)
		}
	}
}

// Where there is no gateway it is not tried, and that is said.
func TestNoGateway(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(t.Context(), "", []string{"direct", "http://GATEWAY:1/x"}, "", &out); err != nil || out.String() != "gateway \n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestDefaultGateway(t *testing.T) {
	t.Parallel()
	const head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
	for table, want := range map[string]string{
		head + "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n":                                                             "10.0.2.2",
		head + "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\neth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n": "192.168.1.1",
		head + "eth0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n":                                                             "",
		head + "eth0\t00000000\tnonsense\t0003\t0\t0\t0\t00000000\t0\t0\t0\n":                                                             "",
		head: "",
	} {
		name := filepath.Join(t.TempDir(), "route")
		if err := os.WriteFile(name, []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := defaultGateway(name); got != want {
			t.Errorf("%q, want %q, of %q", got, want, table)
		}
	}
	if got := defaultGateway(filepath.Join(t.TempDir(), "none")); got != "" {
		t.Errorf("%q without a table", got)
	}
}
