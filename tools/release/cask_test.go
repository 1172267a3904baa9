package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const caskFile = repository + "/packaging/homebrew/Casks/calmenu.rb"

func cask(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(caskFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCaskIsFilled writes a release into the cask, and then the next one.
func TestCaskIsFilled(t *testing.T) {
	m := newMac(t)
	m.write("calmenu.rb", cask(t))
	path := filepath.Join(m.dir, "calmenu.rb")
	for _, version := range []string{"v1.2.3", "v1.10.0"} {
		m.write("image.dmg", "image of "+version)
		args := append([]string{"cask", "-dmg", filepath.Join(m.dir, "image.dmg"), "-cask", path}, m.app(version)...)
		on := m.machine()
		on.GOOS = "linux" // this step needs no Mac
		if code, stderr := m.release(on, args...); code != 0 {
			t.Fatal(stderr)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			fmt.Sprintf("\n  version %q\n", version[1:]),
			fmt.Sprintf("\n  sha256 \"%x\"\n", sha256.Sum256([]byte("image of "+version))),
		} {
			if strings.Count(string(got), want) != 1 {
				t.Errorf("no line%s in\n%s", want, got)
			}
		}
		if n := strings.Count(string(got), "\n"); n != strings.Count(cask(t), "\n") {
			t.Errorf("the cask has %d lines now", n)
		}
	}
	for build, want := range map[string]string{"v1.2.3-1-gabcdef": "is not a release", "v1.2.3": "no such file"} {
		args := append([]string{"cask", "-dmg", filepath.Join(m.dir, "none"), "-cask", path}, m.app(build)...)
		if code, stderr := m.release(m.machine(), args...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s", build, code, stderr)
		}
	}
	if _, err := fill("cask \"x\" do\nend\n", "1", strings.Repeat("0", 64)); err == nil {
		t.Error("a cask without a version was filled")
	}
}

// stanzas is Homebrew's order (rubocop's Cask/StanzaOrder), of those that are used here.
var stanzas = []string{
	"version", "sha256", "url", "name", "desc", "homepage", "livecheck", "depends_on", "app", "binary", "uninstall", "zap", "caveats",
}

// TestCaskStyle checks by the rules of Homebrew's style what can be checked without Homebrew.
func TestCaskStyle(t *testing.T) {
	text := cask(t)
	var order []int
	for _, line := range regexp.MustCompile(`(?m)^  ([a-z0-9_]+)\b`).FindAllStringSubmatch(text, -1) {
		if line[1] == "end" {
			continue
		}
		i := slices.Index(stanzas, line[1])
		if i < 0 {
			t.Errorf("stanza %s is not known here", line[1])
		}
		order = append(order, i)
	}
	if !slices.IsSorted(order) {
		t.Errorf("stanzas are in the order %v of %v", order, stanzas)
	}
	for _, s := range stanzas {
		if !regexp.MustCompile(`(?m)^  ` + s + `\b`).MatchString(text) {
			t.Errorf("no %s", s)
		}
	}
	desc := regexp.MustCompile(`(?m)^  desc "(.*)"$`).FindStringSubmatch(text)[1]
	if len(desc) > 80 || strings.HasSuffix(desc, ".") || regexp.MustCompile(`(?i)^(an?|the) |calmenu|\bmac(os)?\b`).MatchString(desc) {
		t.Errorf("desc %q is not in Homebrew's style", desc)
	}
	for i, line := range strings.Split(text, "\n") {
		if strings.TrimRight(line, " \t") != line || strings.Contains(line, "\t") || len(line) > 120 {
			t.Errorf("line %d has spaces at its end, tabs, or more than 120 columns", i+1)
		}
	}
	_, zap, _ := strings.Cut(text, "zap trash: [\n")
	zap, _, _ = strings.Cut(zap, "  ]")
	paths := strings.Split(strings.TrimSpace(zap), "\n")
	for i := range paths {
		paths[i] = strings.Trim(strings.TrimSpace(paths[i]), `",`)
	}
	if !slices.IsSorted(paths) {
		t.Errorf("paths of zap are not in order: %v", paths)
	}
	for _, p := range paths {
		if strings.HasPrefix(p, "~/cal-output") || p == "~" || p == "~/" || strings.HasPrefix(p, "~/.tart") {
			t.Errorf("zap takes %s, which is not CALMenu's to take", p)
		}
	}
	if _, caveats, _ := strings.Cut(text, "caveats"); !strings.Contains(caveats, "~/cal-output") {
		t.Error("nobody is told that ~/cal-output stays")
	}
}

// TestCaskAgrees holds the cask to what is said elsewhere of the same things.
func TestCaskAgrees(t *testing.T) {
	text := cask(t)
	setup, err := os.ReadFile(repository + "/scripts/setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	tart := regexp.MustCompile(`(?m)^TART_FORMULA=(.*)$`).FindSubmatch(setup)
	info, err := os.ReadFile(repository + "/Info.plist")
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`<key>CFBundleIdentifier</key>\s*<string>(.*)</string>`).FindSubmatch(info)
	for _, want := range []string{
		fmt.Sprintf("depends_on formula: %q", tart[1]),
		fmt.Sprintf("quit:      %q", id[1]),
		`depends_on macos: ">= :ventura"`, // 13.0 of Info.plist
		"/releases/download/v#{version}/" + application{Name: "CALMenu", Version: "#{version}"}.image(),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the cask does not say %s", want)
		}
	}
	if !strings.Contains(string(info), "<key>LSMinimumSystemVersion</key>\n\t<string>13.0</string>") {
		t.Error("Info.plist does not say macOS 13.0, which Homebrew calls ventura")
	}
}

// TestCaskIsRuby has Ruby read the cask, where there is one.
func TestCaskIsRuby(t *testing.T) {
	ruby, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("ruby is not installed: its grammar is checked where it is")
	}
	if out, err := exec.Command(ruby, "-c", caskFile).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
