package qemu

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

func TestDebianSources(t *testing.T) {
	const archive = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
	for _, tt := range []struct {
		name, codename, file, text string
		want                       []string
	}{
		{
			"deb822 of the same release", "bookworm", "debian.sources", `Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
			[]string{
				"deb " + archive + "http://mirror.example/debian bookworm main",
				"deb " + archive + "http://mirror.example/debian bookworm-updates main",
				"deb " + archive + "http://mirror.example/debian-security bookworm-security main",
			},
		},
		{
			"a newer release, folded lines", "trixie", "debian.sources",
			"Types: deb\nURIs:\n http://mirror.example/debian\nSuites: trixie\n trixie-updates trixie-backports\nComponents: main\n",
			[]string{
				"deb http://mirror.example/debian bookworm main",
				"deb http://mirror.example/debian bookworm-updates main",
			},
		},
		{
			"one-line format", "trixie", "sources.list", `
deb http://mirror.example/debian/ trixie main non-free-firmware # the archive
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://local.example/x stable-security main
deb-src http://mirror.example/debian trixie main
deb [broken http://mirror.example/debian trixie main
deb http://mirror.example/debian trixie
`,
			[]string{
				"deb http://mirror.example/debian/ bookworm main",
				"deb " + archive + "https://local.example/x bookworm-security main",
			},
		},
		{"unstable", "forky", "sources.list", "deb http://mirror.example/debian sid main\n", []string{
			"deb http://mirror.example/debian bookworm main",
		}},
		{
			"other vendors", "bookworm", "vendor.sources", `Types: deb
URIs: https://vendor.example/debian/12/prod
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/vendor.gpg

Types: deb
URIs: https://vendor.example/linux/debian
Suites: bookworm
Components: stable

Types: deb
URIs: https://vendor.example/node
Suites: nodistro
Components: main

Types: deb
URIs: https://vendor.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: file:/srv/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
`, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sourceLines(debianSources([]sourceFile{{tt.file, tt.text}}, tt.codename))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// Whatever stands in a host's source files, what is passed on is whole lines of the guest's release.
func FuzzDebianSources(f *testing.F) {
	f.Add("Types: deb\nURIs: http://m.example/debian\nSuites: trixie\nComponents: main\n", "trixie")
	f.Add("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m.example/debian trixie main\n", "trixie")
	f.Fuzz(func(t *testing.T, text, codename string) {
		for _, name := range []string{"a.list", "a.sources"} {
			for _, line := range sourceLines(debianSources([]sourceFile{{name, text}}, codename)) {
				if !strings.HasPrefix(line, "deb ") || strings.ContainsAny(line, "\n\r") || !strings.Contains(line, " bookworm") {
					t.Errorf("%q", line)
				}
			}
		}
	})
}

func TestPassedSettings(t *testing.T) {
	dump := `APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::https::Proxy "";
Acquire::http::Proxy::mirror.example "DIRECT";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::https::CAInfo "/etc/ssl/own.pem";
DPkg::Pre-Install-Pkgs:: "/bin/evil";
`
	want := []string{
		`Acquire::http::Proxy "http://proxy.example:3142"`, `Acquire::http::Proxy::mirror.example "DIRECT"`,
		`Acquire::Check-Valid-Until "false"`, `Acquire::https::CAInfo "/etc/ssl/own.pem"`,
	}
	if got := passedSettings(dump); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBuildProgress(t *testing.T) {
	var got []vm.Phase
	log := &buildLog{report: func(p vm.Phase) { got = append(got, p) }}
	const out = "I: running apt-get update...\nGet:1 http://m.example bookworm InRelease\n" +
		"0 upgraded, 2 newly installed, 0 to remove\nGet:1 http://m.example a\nGet:2 http://m.example b\nGet:3 more\n" +
		"Unpacking a (1) ...\r\nUnpacking b (1) ...\nSetting up a (1) ...\n" +
		"I: running --customize-hook in shell: sh -c '...\n"
	if n, err := log.Write([]byte(out)); n != len(out) || err != nil {
		t.Fatal(n, err)
	}
	want := []vm.Phase{
		{Name: "reading package lists"},
		{Name: "downloading packages", Done: 1, Total: 2},
		{Name: "downloading packages", Done: 2, Total: 2},
		{Name: "installing packages", Done: 1, Total: 4},
		{Name: "installing packages", Done: 2, Total: 4},
		{Name: "installing packages", Done: 3, Total: 4},
		{Name: "setting up the guest"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestBuildFailuresAreExplained(t *testing.T) {
	failed := errors.New("exit status 25")
	for _, tt := range []struct{ output, says, hints string }{
		{"W: x\nErr:1 http://m.example bookworm InRelease\n  Temporary failure resolving 'm.example'\n", "cannot be resolved", "network"},
		{"E: Failed to fetch  Could not connect to m.example:80, connection timed out\n", "cannot be reached", "network"},
		{"tar: ./usr: Cannot write: No space left on device\n", "disk is full", "CAL_CACHE"},
		{"E: The repository is not signed.\n", "does not trust", "debian-archive-keyring"},
		{"E: Unable to locate package gh\n", "lacks a package", "mirror"},
		{"E: Release file for x is expired (invalid since 5d)\n", "out of date", "clock"},
		{"E: invalid mode: newuidmap is not there\n", "user namespaces", "uidmap"},
		{"one\nE: something new\ntwo\n", "exit status 25: E: something new", "doctor"},
		{"", "exit status 25", "doctor"},
	} {
		log := &buildLog{}
		if _, err := log.Write([]byte(tt.output)); err != nil {
			t.Fatal(err)
		}
		err := log.explain("building the guest image", failed)
		if !strings.Contains(err.Error(), tt.says) || !strings.Contains(hint.Of(err), tt.hints) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q is explained as %q (%s)", tt.output, err, hint.Of(err))
		}
	}
	log := &buildLog{tail: []string{"No space left on device"}}
	if err := log.explain("x", failed); !errors.Is(err, vm.ErrNoSpace) {
		t.Errorf("%v is not ErrNoSpace", err)
	}
}

func TestRecipeHash(t *testing.T) {
	a, err := recipeFor(ImageName)
	if err != nil {
		t.Fatal(err)
	}
	b, err := recipeFor(StockImageName)
	if err != nil {
		t.Fatal(err)
	}
	changed := a
	changed.packages = append(slices.Clone(a.packages), "sl")
	moved := a
	moved.packages = append(slices.Clone(a.packages[:1]), append([]string{a.packages[1] + a.packages[2]}, a.packages[3:]...)...)
	seen := map[string]bool{}
	for _, r := range []recipe{a, b, changed, moved} {
		seen[r.hash()] = true
	}
	if len(seen) != 4 {
		t.Errorf("four recipes have %d hashes", len(seen))
	}
	if len(a.packages) < 20 || slices.ContainsFunc(a.packages, func(p string) bool { return strings.ContainsAny(p, "# ,") }) {
		t.Errorf("packages %q", a.packages)
	}
}

func TestBackingFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "QFI\xfb\x00\x00\x00\x03"+"\x00\x00\x00\x00\x00\x00\x00\x18"+"\x00\x00\x00\x05"+"\x00\x00\x00\x00"+"b.img")
	if got, err := backingFile(good); err != nil || got != "b.img" {
		t.Errorf("%q, %v", got, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		link, dir, filepath.Join(dir, "none"), write("short", "QFI"), write("text", strings.Repeat("x", 99)),
		write("long", "QFI\xfb\x00\x00\x00\x03"+"\x00\x00\x00\x00\x00\x00\x00\x18"+"\xff\xff\xff\xff"+"b.img"),
	} {
		if got, err := backingFile(bad); err == nil {
			t.Errorf("%s: %q", bad, got)
		}
	}
}
