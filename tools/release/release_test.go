package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"howett.net/plist"

	"github.com/calmenu/calmenu/internal/golden"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/sign"
)

const (
	repository  = "../.."
	developerID = "Developer ID Application: Jo Doe (ABCDE12345)"
)

// mac is a double of a Mac's programs: it records what they are asked for and does the little that others rely on.
type mac struct {
	t       *testing.T
	dir     string
	asked   []string
	answers []answer // what to say instead of success, in order of being asked for
	said    strings.Builder
	// granted is what the last entitlements file held.
	granted string
}

// answer is what the next program whose command line holds a text says.
type answer struct {
	to, stdout, stderr string
	fails              bool
}

func newMac(t *testing.T, answers ...answer) *mac {
	return &mac{t: t, dir: t.TempDir(), answers: answers}
}

func (m *mac) machine() *sign.Mac { return &sign.Mac{GOOS: "darwin", Say: &m.said, Command: m.run} }

func (m *mac) run(_ context.Context, argv []string) (sign.Output, error) {
	line := m.plain(argv...)
	m.asked = append(m.asked, line)
	if i := slices.Index(argv, "--entitlements"); i >= 0 {
		data, err := os.ReadFile(argv[i+1])
		if err != nil {
			m.t.Error(err)
		}
		m.granted = string(data)
	}
	for i, a := range m.answers {
		if !strings.Contains(line, a.to) {
			continue
		}
		m.answers = slices.Delete(m.answers, i, i+1)
		if a.fails {
			return sign.Output{All: a.stdout + a.stderr, Stdout: a.stdout}, errors.New("exit status 1")
		}
		return sign.Output{All: a.stdout + a.stderr, Stdout: a.stdout}, nil
	}
	switch filepath.Base(argv[0]) + " " + argv[1] {
	case "hdiutil create":
		return sign.Output{}, m.makeImage(argv)
	case "xcrun notarytool":
		s := `{"id":"2efe2717-52ef-43a5-96dc-0797e4ca1041","status":"Accepted","message":"Processing complete"}`
		return sign.Output{All: s, Stdout: s}, nil
	}
	if filepath.Base(argv[0]) == "ditto" && argv[1] != "-c" {
		return sign.Output{}, os.CopyFS(argv[2], os.DirFS(argv[1]))
	}
	return sign.Output{}, nil
}

// makeImage notes what lies in the folder that becomes a disk image, which must hold the application and a link.
func (m *mac) makeImage(argv []string) error {
	stage := argv[slices.Index(argv, "-srcfolder")+1]
	entries, err := os.ReadDir(stage)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	to, err := os.Readlink(filepath.Join(stage, "Applications"))
	if err != nil || to != "/Applications" || !slices.Equal(names, []string{"Applications", "CALMenu.app"}) {
		m.t.Errorf("the disk image holds %v, the link leads to %q (%v)", names, to, err)
	}
	return os.WriteFile(argv[len(argv)-1], []byte("disk image"), 0o600)
}

// plain returns a command line as it would be typed, without the names of temporary files.
func (m *mac) plain(argv ...string) string {
	words := make([]string, 0, len(argv))
	for _, w := range argv {
		w = strings.ReplaceAll(w, m.dir+"/", "")
		switch {
		case strings.HasPrefix(filepath.Base(w), "entitlements-"):
			w = "ENTITLEMENTS"
		case strings.HasPrefix(w, ".image-"):
			_, rest, _ := strings.Cut(w, "/")
			w = filepath.Join("STAGE", rest)
		case strings.Contains(w, " ") && len(argv) > 1:
			w = "'" + w + "'"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// app writes a bundle of the given version and returns the flags that name it.
func (m *mac) app(build string) []string {
	m.t.Helper()
	short, _, _ := strings.Cut(strings.TrimPrefix(build, "v"), "-")
	info, err := plist.Marshal(map[string]any{
		"CFBundleName": "CALMenu", "CFBundleExecutable": "CALMenu", "CFBundleShortVersionString": short, "CALVersion": build,
	}, plist.XMLFormat)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("CALMenu.app/Contents/Info.plist", string(info))
	m.write("CALMenu.app/Contents/MacOS/CALMenu", "\xca\xfe\xba\xbe program")
	m.write("CALMenu.app/Contents/Resources/CALMenu.icns", "icns")
	return []string{
		"-app", filepath.Join(m.dir, "CALMenu.app"), "-out", m.dir,
		"-entitlements", filepath.Join(repository, "packaging/macos/CALMenu.entitlements"),
	}
}

func (m *mac) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// release runs one command line and returns its exit code and what went to standard error.
func (m *mac) release(on *sign.Mac, args ...string) (int, string) {
	m.t.Helper()
	var stderr strings.Builder
	code := run(m.t.Context(), args, on, &stderr)
	return code, m.plain(stderr.String())
}

// TestCommands holds every command line that a release runs on a Mac, in order.
func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"sign ad hoc", []string{"sign"}},
		{"sign", []string{"sign", "-identity", developerID}},
		{"dmg ad hoc", []string{"dmg"}},
		{"dmg", []string{"dmg", "-identity", developerID}},
		{"notarize", []string{"notarize", "-identity", developerID, "-profile", "calmenu", "-keychain", "release.keychain-db"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMac(t)
			code, stderr := m.release(m.machine(), append(tt.args, m.app("v1.2.3")...)...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			name := filepath.Join("testdata", strings.ReplaceAll(tt.name, " ", "-")+".txt")
			golden.Text(t, name, strings.Join(m.asked, "\n")+"\n\n"+strings.ReplaceAll(m.said.String(), m.dir+"/", ""))
			for _, e := range []string{".image-", "entitlements-", "notarize.zip"} {
				if left, _ := filepath.Glob(filepath.Join(m.dir, "*"+e+"*")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		})
	}
}

// TestNestedFirst holds that what lies deeper in a bundle is signed before what is around it, and that only the bundle
// itself is given entitlements.
func TestNestedFirst(t *testing.T) {
	m := newMac(t)
	args := m.app("v1.2.3")
	m.write("CALMenu.app/Contents/MacOS/helper", "\xcf\xfa\xed\xfe program")
	m.write("CALMenu.app/Contents/Frameworks/A.framework/Versions/A/A", "\xca\xfe\xba\xbe library")
	m.write("CALMenu.app/Contents/Resources/short", "\xca\xfe")
	if code, stderr := m.release(m.machine(), append([]string{"sign"}, args...)...); code != 0 {
		t.Fatal(stderr)
	}
	var got []string
	for _, line := range m.asked[:len(m.asked)-1] {
		words := strings.Fields(line)
		got = append(got, fmt.Sprint(words[len(words)-1], " ", strings.Contains(line, "--entitlements")))
	}
	want := []string{
		"CALMenu.app/Contents/Frameworks/A.framework/Versions/A/A false",
		"CALMenu.app/Contents/MacOS/helper false",
		"CALMenu.app true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("signed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestEntitlements holds that nothing is asked for, and that the comments that say why stay behind.
func TestEntitlements(t *testing.T) {
	m := newMac(t)
	if code, stderr := m.release(m.machine(), append([]string{"sign"}, m.app("v1.2.3")...)...); code != 0 {
		t.Fatal(stderr)
	}
	if strings.Contains(m.granted, "<!--") {
		t.Errorf("the kernel refuses comments in entitlements:\n%s", m.granted)
	}
	granted := map[string]any{}
	if _, err := plist.Unmarshal([]byte(m.granted), &granted); err != nil || len(granted) != 0 {
		t.Errorf("granted %v (%v), want nothing", granted, err)
	}
}

func TestFailures(t *testing.T) {
	full := []string{"notarize", "-identity", developerID, "-profile", "calmenu"}
	verdict := func(status string) string { return `{"id":"1-2-3","status":"` + status + `","message":"m"}` }
	for _, tt := range []struct {
		name, build string
		args        []string
		answers     []answer
		want        []string // in what is said
	}{
		{
			"the signature is refused", "v1.2.3",
			[]string{"sign"},
			[]answer{{to: "--sign", stderr: "errSecInternalComponent", fails: true}},
			[]string{"signing CALMenu.app: codesign: exit status 1", "errSecInternalComponent", "hint: See security find-identity"},
		},
		{
			"no room for the image", "v1.2.3",
			[]string{"dmg"},
			[]answer{{to: "hdiutil create", stderr: "hdiutil: create failed - No space left on device", fails: true}},
			[]string{"No space left on device", "hint: Eject"},
		},
		{
			"busy again and again", "v1.2.3",
			[]string{"dmg"},
			slices.Repeat([]answer{{to: "hdiutil create", stderr: "hdiutil: create failed - Resource busy", fails: true}}, imageTries),
			[]string{"Resource busy"},
		},
		{"no identity", "v1.2.3", []string{"notarize", "-profile", "calmenu"}, nil, []string{"Developer ID", "CODESIGN_IDENTITY"}},
		{
			"no credentials", "v1.2.3",
			[]string{"notarize", "-identity", developerID},
			nil,
			[]string{"no profile", "NOTARY_PROFILE"},
		},
		{"changed since the tag", "v1.2.3-4-gabcdef-dirty", full, nil, []string{"is not a release", "hint: Check out the tag"}},
		{"a preview", "v1.2.3-rc.1", full, nil, []string{"is not a release"}},
		{
			"Apple refuses", "v1.2.3", full,
			[]answer{
				{to: "submit", stdout: verdict("Invalid")},
				{to: "notarytool log", stdout: `{"issues":[{"path":"CALMenu.app/x","message":"not signed"}]}`},
			},
			[]string{"Apple refused it", `"path":"CALMenu.app/x"`, "hint: Each issue names a file"},
		},
		{
			"Apple refuses, with an exit code", "v1.2.3", full,
			[]answer{{to: "submit", stdout: verdict("Rejected"), fails: true}, {to: "notarytool log", fails: true}},
			[]string{"Apple refused it"},
		},
		{
			"Apple takes its time", "v1.2.3", full,
			[]answer{{to: "submit", stdout: verdict("In Progress"), fails: true}},
			[]string{"not decided within 45m", "notarytool info 1-2-3"},
		},
		{
			"wrong credentials", "v1.2.3", full,
			[]answer{{to: "submit", stderr: "Error: HTTP status code: 401.", fails: true}},
			[]string{"401", "hint: Credentials: xcrun notarytool store-credentials calmenu"},
		},
		{"no sense in the answer", "v1.2.3", full, []answer{{to: "submit", stdout: "ok"}}, []string{"reading Apple's answer"}},
		{
			"no ticket yet", "v1.2.3", full,
			[]answer{{to: "stapler staple", stderr: "CloudKit query failed", fails: true}},
			[]string{"CloudKit query failed", "after the verdict: try again"},
		},
		{
			"Gatekeeper is not content", "v1.2.3", full,
			[]answer{{to: "spctl", stderr: "rejected", fails: true}},
			[]string{"asking Gatekeeper about CALMenu.app", "rejected"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMac(t, tt.answers...)
			code, stderr := m.release(m.machine(), append(tt.args, m.app(tt.build)...)...)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("said\n%s\nwant %q", stderr, want)
				}
			}
			if len(m.answers) > 0 {
				t.Errorf("never asked for: %v", m.answers)
			}
		})
	}
}

// TestBusyOnce holds that hdiutil's passing failure does not end a release.
func TestBusyOnce(t *testing.T) {
	m := newMac(t, answer{to: "hdiutil create", stderr: "hdiutil: create failed - Resource busy", fails: true})
	if code, stderr := m.release(m.machine(), append([]string{"dmg"}, m.app("v1.2.3")...)...); code != 0 {
		t.Fatal(stderr)
	}
}

// TestElsewhere holds what is said on other systems: signing is left out and said to be, the rest is refused.
func TestElsewhere(t *testing.T) {
	for command, want := range map[string]string{
		"sign": "", "dmg": "this needs a Mac: hdiutil", "notarize": "this needs a Mac: notarytool",
	} {
		m := newMac(t)
		var said strings.Builder
		on := &sign.Mac{GOOS: "linux", Say: &said, Command: m.run}
		code, stderr := m.release(on, append([]string{command}, m.app("v1.2.3")...)...)
		if (code == 0) != (want == "") || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s", command, code, stderr)
		}
		if want == "" && !strings.Contains(said.String(), "is not signed") {
			t.Errorf("%s said %q", command, said.String())
		}
		if len(m.asked) > 0 {
			t.Errorf("%s ran %v", command, m.asked)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{nil, {"publish"}, {"sign", "-password", "x"}, {"sign", "more"}} {
		m := newMac(t)
		if code, stderr := m.release(m.machine(), args...); code != 2 || stderr == "" || len(m.asked) > 0 {
			t.Errorf("%v: exit code %d, %q, ran %v", args, code, stderr, m.asked)
		}
	}
}

func TestNoApp(t *testing.T) {
	if _, err := readApp(filepath.Join(t.TempDir(), "CALMenu.app")); !strings.Contains(hint.Of(err), "make app") {
		t.Errorf("readApp = %v", err)
	}
}
