package hostproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zalando/go-keyring"
	"golang.org/x/net/http/httpproxy"

	"github.com/calmenu/calmenu/internal/hint"
)

func TestMain(m *testing.M) {
	keyring.MockInit()
	os.Exit(m.Run())
}

// scutil is what macOS 14 prints.
const scutil = `<dictionary> {
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
    2 : intra.test
  }
  ExcludeSimpleHostnames : 1
  FTPPassive : 1
  HTTPEnable : 1
  HTTPPort : 8080
  HTTPProxy : proxy.corp.test
  HTTPSEnable : 1
  HTTPSPort : 8443
  HTTPSProxy : proxy.corp.test
  ProxyAutoConfigEnable : 0
  ProxyAutoConfigURLString : http://old.test/proxy.pac
  SOCKSEnable : 0
  SOCKSPort : 1080
  SOCKSProxy : socks.corp.test
  __SCOPED__ : <dictionary> {
    en0 : <dictionary> {
      HTTPEnable : 0
      HTTPProxy : other.test
    }
  }
}
`

func TestParseScutil(t *testing.T) {
	want := &System{
		HTTP: "proxy.corp.test:8080", HTTPS: "proxy.corp.test:8443", ExceptSimple: true,
		Exceptions: []string{"*.local", "169.254/16", "intra.test"},
	}
	if diff := cmp.Diff(want, parseScutil(scutil)); diff != "" {
		t.Error(diff)
	}
	pac := "<dictionary> {\n  ProxyAutoConfigEnable : 1\n  ProxyAutoConfigURLString : http://pac.test/p.pac\n}\n"
	if y := parseScutil(pac); y.PAC != "http://pac.test/p.pac" {
		t.Errorf("%+v", y)
	}
	if y := parseScutil("<dictionary> {\n  SOCKSEnable : 1\n  SOCKSProxy : ::1\n}\n"); y.SOCKS != "[::1]:1080" {
		t.Errorf("%+v", y)
	}
	if y := parseScutil(""); y.HTTP != "" || y.PAC != "" {
		t.Errorf("%+v", y)
	}
}

func FuzzParseScutil(f *testing.F) {
	f.Add(scutil)
	f.Fuzz(func(_ *testing.T, out string) {
		y := parseScutil(out)
		y.excepts("a.test")
		y.proxyFor("https")
	})
}

func TestFor(t *testing.T) {
	system := func(context.Context) (*System, error) { return parseScutil(scutil), nil }
	pacFile := filepath.Join(t.TempDir(), "p.pac")
	script := `function FindProxyForURL(url, host) { return dnsDomainIs(host, ".in.test") ? "DIRECT" : "SOCKS5 s.test:1080"; }`
	if err := os.WriteFile(pacFile, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/p.pac" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, script)
	}))
	defer server.Close()
	env := func(c httpproxy.Config) func() *httpproxy.Config { return func() *httpproxy.Config { return &c } }
	none := env(httpproxy.Config{})
	noSystem := func(context.Context) (*System, error) { return nil, nil }
	for _, tt := range []struct {
		name, url, want string
		o               Options
	}{
		{"off", "https://a.test:443", "none", Options{Setting: "off", environ: env(httpproxy.Config{HTTPSProxy: "http://e.test:1"})}},
		{"a URL", "https://a.test:443", "socks5://me@s.test:1", Options{Setting: "socks5://me@s.test:1"}},
		{"environment", "https://a.test:443", "http://e.test:1", Options{environ: env(httpproxy.Config{HTTPSProxy: "http://e.test:1"}), system: system}},
		{"environment, excepted", "https://b.no.test:443", "none", Options{environ: env(httpproxy.Config{HTTPSProxy: "http://e.test:1", NoProxy: ".no.test"}), system: system}},
		{"environment before none", "http://a.test:80", "none", Options{environ: env(httpproxy.Config{HTTPSProxy: "http://e.test:1"}), system: system}},
		{"system, https", "https://a.test:443", "http://proxy.corp.test:8443", Options{environ: none, system: system}},
		{"system, http", "http://a.test:80", "http://proxy.corp.test:8080", Options{environ: none, system: system}},
		{"system, excepted name", "https://x.local:443", "none", Options{environ: none, system: system}},
		{"system, excepted network", "https://169.254.9.9:443", "none", Options{environ: none, system: system}},
		{"system, excepted simple name", "https://printer:443", "none", Options{environ: none, system: system}},
		{"system, not excepted", "https://not.intra.test:443", "http://proxy.corp.test:8443", Options{environ: none, system: system}},
		{"no settings", "https://a.test:443", "none", Options{environ: none, system: noSystem}},
		{"PAC by path", "https://a.test:443", "socks5://s.test:1080", Options{PAC: pacFile, environ: none, system: system}},
		{"PAC by file URL, direct", "https://a.in.test:443", "none", Options{PAC: "file://" + pacFile, environ: none, system: system}},
		{"PAC by URL", "https://a.test:443", "socks5://s.test:1080", Options{PAC: server.URL + "/p.pac", environ: none}},
		{"PAC of the system", "https://a.test:443", "socks5://s.test:1080", Options{environ: none, system: func(context.Context) (*System, error) {
			return &System{PAC: server.URL + "/p.pac"}, nil
		}}},
		{"PAC that is not there", "https://a.test:443", "!404", Options{PAC: server.URL + "/nothing", environ: none}},
		{"PAC that is no file", "https://a.test:443", "!no such file", Options{PAC: "/nowhere.pac", environ: none}},
		{"settings that cannot be read", "https://a.test:443", "!broken", Options{environ: none, system: func(context.Context) (*System, error) {
			return nil, errors.New("broken")
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			got, err := New(tt.o).For(u)
			if problem, bad := strings.CutPrefix(tt.want, "!"); bad {
				if err == nil || !strings.Contains(err.Error(), problem) {
					t.Errorf("%v, %v; want an error with %q", got, err, problem)
				}
				return
			}
			text := "none"
			if got != nil {
				text = got.String()
			}
			if err != nil || text != tt.want {
				t.Errorf("%s, %v; want %s", text, err, tt.want)
			}
		})
	}
}

func TestAProxyThatDoesNotAnswerGivesWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "p.pac")
	script := `function FindProxyForURL() { return "PROXY dead.test:1; PROXY ` + l.Addr().String() + `; DIRECT"; }`
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	tried := 0
	s := New(Options{PAC: file, dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		tried++
		if address == "dead.test:1" {
			return nil, errors.New("refused")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}})
	for range 3 {
		got, err := s.For(&url.URL{Scheme: "https", Host: "a.test:443"})
		if err != nil || got == nil || got.Host != l.Addr().String() {
			t.Errorf("%v, %v", got, err)
		}
	}
	if tried != 2 {
		t.Errorf("tried %d times", tried)
	}
}

func TestLogins(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "p.test:8080"}
	if err := Login(proxy, "nocolon"); err == nil || hint.Of(err) == "" {
		t.Errorf("a login without a password: %v", err)
	}
	if err := Login(proxy, "me:pass:word"); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Setting: "http://p.test:8080"})
	got, err := s.For(&url.URL{Scheme: "https", Host: "a.test:443"})
	if err != nil || got.String() != "http://me:pass%3Aword@p.test:8080" {
		t.Errorf("%v, %v", got, err)
	}
	if text := s.Describe(); strings.Contains(text, "word") || !strings.Contains(text, "p.test:8080") {
		t.Errorf("described as %s", text)
	}
	if err := Logout(proxy); err != nil {
		t.Fatal(err)
	}
	if err := Logout(proxy); !errors.Is(err, ErrNoLogin) {
		t.Errorf("a second time: %v", err)
	}
}

func TestAKeychainThatIsNotThereIsToldOf(t *testing.T) {
	keyring.MockInitWithError(errors.New("no secret service"))
	defer keyring.MockInit()
	var told error
	s := New(Options{Setting: "http://p.test:8080", Warn: func(err error) { told = err }})
	got, err := s.For(&url.URL{Scheme: "https", Host: "a.test:443"})
	if err != nil || got.User != nil || told == nil || !strings.Contains(hint.Of(told), "keychain") {
		t.Errorf("%v, %v, told %v", got, err, told)
	}
	if err := Login(&url.URL{Host: "p.test:1"}, "a:b"); err == nil || hint.Of(err) == "" {
		t.Errorf("%v", err)
	}
}
