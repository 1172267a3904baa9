package tunnel

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

func TestRegistries(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("apt/sources.list", `# deb http://commented.test/debian stable main
deb http://one.test/debian stable main # a remark
deb-src [ arch=amd64 signed-by=/x.gpg ] https://two.test:8443/debian stable main
deb [trusted=yes] file:/srv/debian ./
deb cdrom:[Debian]/ stable main
deb http://user:secret@three.test/debian stable main
deb
garbage http://garbage.test/ x y
`)
	write("apt/sources.list.d/a.list", `deb http://localhost/debian stable main
deb http://127.0.0.1:9999/debian stable main
`)
	write("apt/sources.list.d/b.sources", `Types: deb
# http://commented.test
URIs: http://four.test/debian
 mirror+https://five.test/list
Suites: stable

Enabled: no
URIs: http://disabled.test/

Types: deb
uris: http://one.test/security http://[2a00::1]/debian
Suites: x`)
	npmrc := write("npmrc", `registry=https://npm.test/path/
@corp:registry = "http://10.1.2.3:4873/"
//npm.test/:_authToken=secret
`)
	got := registries(t.Context(), registrySources{
		apt: filepath.Join(dir, "apt"), npmrc: []string{npmrc, filepath.Join(dir, "missing")},
		env: []string{"NPM_CONFIG_REGISTRY=https://env.test", "PATH=/x"},
		npm: func(context.Context) string { return "https://npm-says.test/" },
	})
	var texts []string
	for _, r := range got {
		texts = append(texts, r.String())
	}
	want := []string{
		"one.test:80", "two.test:8443", "three.test:80", "localhost:80", "four.test:80", "five.test:443", "[2a00::1]:80",
		"npm.test:443", "10.1.2.3:4873", "env.test:443", "npm-says.test:443",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("got  %v\nwant %v", texts, want)
	}
	// The name of this host gives a rule, but leads nowhere.
	if d := (Policy{Rules: got}).Decide("localhost", 80, addrs("127.0.0.1", "::1"), nil); d.Allowed {
		t.Errorf("localhost: %+v", d)
	}
}

func TestRegistriesOfAHostWithoutAny(t *testing.T) {
	got := registries(t.Context(), registrySources{apt: t.TempDir(), npm: func(context.Context) string { return "" }})
	if len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

var onePort = regexp.MustCompile(`:[0-9]+$`)

func FuzzSources(f *testing.F) {
	f.Add([]byte("deb [a=b] http://x.test/ y z\n"))
	f.Add([]byte("deb [ http://x.test/\n"))
	f.Add([]byte("deb x ]\n"))
	f.Add([]byte("URIs: http://x.test/\n y\n\n\tz"))
	f.Add([]byte("@a:registry=http://x.test:1/"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, u := range slices.Concat(aptList(data), aptSources(data), npmrc(data)) {
			if r, ok := sourceRule(u); ok && !onePort.MatchString(r.String()) {
				t.Errorf("%q gave %v, which is not for one port", u, r)
			}
		}
	})
}
