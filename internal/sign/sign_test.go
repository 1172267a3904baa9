package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"howett.net/plist"

	"github.com/calmenu/calmenu/internal/golden"
	"github.com/calmenu/calmenu/internal/hint"
)

const identities = `  1) 0123456789ABCDEF0123456789ABCDEF01234567 "Apple Development: Jo Doe (ABCDE12345)"
  2) 89ABCDEF0123456789ABCDEF0123456789ABCDEF "Developer ID Application: Jo Doe (ABCDE12345)"
     2 valid identities found
`

const installers = `  1) 0123456789ABCDEF0123456789ABCDEF01234567 "Apple Development: Jo Doe (ABCDE12345)"
  2) FEDCBA9876543210FEDCBA9876543210FEDCBA98 "Developer ID Installer: Jo Doe (ABCDE12345)"
     2 valid identities found
`

// double is a Mac whose programs record what they are asked for, and leave behind what is relied on.
type double struct {
	testing.TB
	dir   string
	asked []string
	fails string // a command line that holds this fails
	plist string // the last entitlements or export options
}

var temporary = regexp.MustCompile(`(entitlements|export)-\d+\.plist`)

func (d *double) mac() *Mac { return &Mac{GOOS: "darwin", Command: d.run} }

func (d *double) run(_ context.Context, argv []string) (Output, error) {
	line := temporary.ReplaceAllString(strings.ReplaceAll(strings.Join(argv, " "), d.dir+"/", ""), "$1.plist")
	d.asked = append(d.asked, line)
	for i, a := range argv {
		if a == "--entitlements" || a == "-exportOptionsPlist" {
			text, err := os.ReadFile(argv[i+1])
			d.must(err)
			d.plist = string(text)
		}
	}
	switch {
	case d.fails != "" && strings.Contains(line, d.fails):
		return Output{All: "errSecInternalComponent"}, errors.New("exit status 1")
	case strings.HasSuffix(line, "-p codesigning"):
		return Output{Stdout: identities}, nil
	case strings.HasSuffix(line, "-p basic"):
		return Output{Stdout: installers}, nil
	case argv[0] == xcodebuild:
		d.put(filepath.Join(argv[5], "Demo.ipa"), "exported")
		d.put(filepath.Join(argv[5], "ExportOptions.plist"), "")
	case argv[0] == productsign:
		d.put(argv[len(argv)-1], "signed")
	case argv[1] == "notarytool":
		return Output{Stdout: `{"id":"1","status":"Accepted"}`}, nil
	}
	return Output{}, nil
}

func (d *double) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *double) put(name, content string) {
	d.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(d.dir, name)
	}
	d.must(os.MkdirAll(filepath.Dir(name), 0o755))
	d.must(os.WriteFile(name, []byte(content), 0o755))
}

func (d *double) plistText(v any) string {
	d.Helper()
	text, err := plist.Marshal(v, plist.XMLFormat)
	d.must(err)
	return string(text)
}

const machO = "\xcf\xfa\xed\xfe\x0c\x00\x00\x01"

// make lays out what a guest has built.
func (d *double) make() {
	info := d.plistText(map[string]any{
		"CFBundleIdentifier": "io.example.demo", "CFBundleShortVersionString": "1.2", "CFBundleVersion": "7",
		"CFBundleExecutable": "Demo",
	})
	mac := "landed/Demo.app/Contents/"
	d.put(mac+"Info.plist", info)
	d.put(mac+"MacOS/Demo", machO)
	d.put(mac+"MacOS/helper", machO)
	d.put(mac+"Frameworks/Kit.framework/Versions/A/Kit", machO)
	d.put(mac+"Frameworks/Kit.framework/Versions/A/Resources/Info.plist", info)
	d.must(os.Symlink("A", filepath.Join(d.dir, mac, "Frameworks/Kit.framework/Versions/Current")))
	d.must(os.Symlink("Versions/Current/Kit", filepath.Join(d.dir, mac, "Frameworks/Kit.framework/Kit")))
	d.put(mac+"Resources/readme.txt", "x")
	d.put(mac+"XPCServices/S.xpc/Contents/Info.plist", info)
	d.put(mac+"XPCServices/S.xpc/Contents/MacOS/S", machO)

	phone := "ios/Payload/Demo.app/"
	d.put(phone+"Info.plist", info)
	d.put(phone+"Demo", machO)
	d.put(phone+"embedded.mobileprovision", d.profile("Old", nil))
	d.put(phone+"PlugIns/W.appex/Info.plist", info)
	d.put(phone+"PlugIns/W.appex/W", machO)
	d.must(os.Symlink("Demo", filepath.Join(d.dir, phone, "link")))
	root, err := os.OpenRoot(filepath.Join(d.dir, "ios"))
	d.must(err)
	var ipa bytes.Buffer
	d.must(pack(root, &ipa))
	d.put("landed/Demo.ipa", ipa.String())

	d.put("landed/Demo.xcarchive/Info.plist", d.plistText(map[string]any{"ApplicationProperties": map[string]any{
		"ApplicationPath": "Applications/Demo.app", "CFBundleIdentifier": "io.example.demo",
		"CFBundleShortVersionString": "1.2", "CFBundleVersion": "7", "SigningIdentity": "Apple Development: Guest",
	}}))
	d.must(os.CopyFS(filepath.Join(d.dir, "landed/Demo.xcarchive/Products/Applications/Demo.app"),
		os.DirFS(filepath.Join(d.dir, phone))))
	d.put("landed/Demo.dmg", "image")
	d.put("landed/Demo.pkg", "xar!")
	d.put("landed/notes.txt", "x")

	d.put("dev.mobileprovision", d.profile("Demo Development", map[string]any{"get-task-allow": true}))
	d.put("old.mobileprovision", strings.ReplaceAll(d.profile("Expired", nil), "2999-", "1999-"))
	d.put("options.plist", d.plistText(map[string]any{"method": "app-store", "signingStyle": "automatic"}))
	d.put("granted.plist", strings.Replace(d.plistText(map[string]any{"com.apple.security.app-sandbox": true}), "<dict>",
		"<!-- why --><dict>", 1))
}

// profile is a provisioning profile, as far as it is read: a property list within something else.
func (d *double) profile(name string, more map[string]any) string {
	entitlements := map[string]any{
		"application-identifier": "ABCDE12345.*", "keychain-access-groups": []string{"ABCDE12345.*", "shared"},
	}
	for k, v := range more {
		entitlements[k] = v
	}
	text := d.plistText(map[string]any{
		"Name": name, "UUID": "11111111-2222-3333-4444-555555555555", "TeamIdentifier": []string{"ABCDE12345"},
		"Platform": []string{"iOS"}, "ProvisionedDevices": []string{"d"}, "Entitlements": entitlements,
	})
	text = strings.Replace(text, "<dict>", "<dict><key>ExpirationDate</key><date>2999-01-01T00:00:00Z</date>", 1)
	return "0\x82\x10\x01\x06\t*\x86H\x86\xf7" + text + "\x00\x30\x82junk"
}

func TestSign(t *testing.T) {
	var script bytes.Buffer
	for _, c := range []struct {
		what, name string
		o          Order
	}{
		{"a Mac application", "Demo.app", Order{Identity: "developer id"}},
		{"with entitlements, notarised", "Demo.app", Order{Identity: "developer id", Entitlements: "granted.plist", Notarize: "cal"}},
		{"ad hoc", "Demo.app", Order{Identity: "-"}},
		{"an iOS application", "Demo.ipa", Order{Identity: "Apple Development: Jo Doe (ABCDE12345)", Profile: "dev.mobileprovision"}},
		{"an archive, by a profile", "Demo.xcarchive", Order{Identity: "apple development", Profile: "dev.mobileprovision"}},
		{"an archive, by export options", "Demo.xcarchive", Order{ExportOptions: "options.plist"}},
		{"a disk image", "Demo.dmg", Order{Identity: "89abcdef0123456789abcdef0123456789abcdef", Notarize: "cal"}},
		{"a package", "Demo.pkg", Order{}},

		{"text", "notes.txt", Order{}},
		{"what is not there", "Other.app", Order{}},
		{"with nobody in particular", "Demo.app", Order{}},
		{"with somebody unknown", "Demo.app", Order{Identity: "Nobody"}},
		{"with a name that two have", "Demo.app", Order{Identity: "Jo Doe"}},
		{"a package with an application's identity", "Demo.pkg", Order{Identity: "Developer ID Application"}},
		{"an iOS application without a profile", "Demo.ipa", Order{Identity: "apple development"}},
		{"by an expired profile", "Demo.ipa", Order{Identity: "apple development", Profile: "old.mobileprovision"}},
		{"by a profile that is none", "Demo.ipa", Order{Identity: "apple development", Profile: "options.plist"}},
		{"an iOS application, notarised", "Demo.ipa", Order{Identity: "developer", Profile: "dev.mobileprovision", Notarize: "x"}},
		{"ad hoc, notarised", "Demo.app", Order{Identity: "-", Notarize: "x"}},
		{"an archive without a word what it is to become", "Demo.xcarchive", Order{Identity: "apple development"}},
	} {
		d := &double{TB: t, dir: t.TempDir()}
		d.make()
		r, err := d.sign(c.name, c.o)
		fmt.Fprintf(&script, "# %s\n", c.what)
		for _, line := range d.asked {
			if !strings.HasPrefix(line, security) {
				fmt.Fprintln(&script, line)
			}
		}
		if d.plist != "" && !strings.Contains(c.what, "notarised") {
			fmt.Fprintln(&script, d.plist)
		}
		if err != nil {
			fmt.Fprintf(&script, "error: %s\n  %s\n", strings.ReplaceAll(err.Error(), d.dir+"/", ""), hint.Of(err))
		} else {
			fmt.Fprintf(&script, "=> %s by %s: %s %s (%s), signed %v\n", r.Name, r.Identity.Name, r.Description.BundleID,
				r.Description.Version, r.Description.Build, r.Description.Signed)
		}
		fmt.Fprintln(&script)
	}
	golden.Text(t, filepath.Join("testdata", "sign.golden"), script.String())
}

func (d *double) sign(name string, o Order) (Result, error) {
	d.Helper()
	from, err := os.OpenRoot(filepath.Join(d.dir, "landed"))
	d.must(err)
	defer from.Close()
	o.From, o.Name, o.Work = from, name, filepath.Join(d.dir, "work")
	d.must(os.MkdirAll(o.Work, 0o700))
	for _, file := range []*string{&o.Profile, &o.Entitlements, &o.ExportOptions} {
		if *file != "" {
			*file = filepath.Join(d.dir, *file)
		}
	}
	return d.mac().Sign(d.Context(), o)
}

// TestSignedIPA looks into what was packed: the profile given, everything else as it was.
func TestSignedIPA(t *testing.T) {
	d := &double{TB: t, dir: t.TempDir()}
	d.make()
	if _, err := d.sign("Demo.ipa", Order{Identity: "apple development", Profile: "dev.mobileprovision"}); err != nil {
		t.Fatal(err)
	}
	tree := os.DirFS(filepath.Join(d.dir, "work"))
	got, err := Describe(tree, "Demo.ipa")
	d.must(err)
	if got.Profile == nil || got.Profile.Name != "Demo Development" || got.BundleID != "io.example.demo" {
		t.Errorf("%+v", got)
	}
	f, err := tree.Open("Demo.ipa")
	d.must(err)
	defer f.Close()
	z, err := openZip(f)
	d.must(err)
	modes := map[string]string{}
	for _, m := range z.File {
		modes[m.Name] = m.Mode().String()
	}
	if modes["Payload/Demo.app/link"] != "Lrwxrwxrwx" || modes["Payload/Demo.app/Demo"] != "-rwxr-xr-x" {
		t.Errorf("%v", modes)
	}
	// What the guest built is as it landed.
	landed, err := Describe(os.DirFS(filepath.Join(d.dir, "landed")), "Demo.ipa")
	d.must(err)
	if landed.Profile.Name != "Old" {
		t.Errorf("%+v", landed)
	}
}

// TestHostileArtifacts have nothing signed.
func TestHostileArtifacts(t *testing.T) {
	for what, spoil := range map[string]func(d *double){
		"a link out of it": func(d *double) {
			d.must(os.Symlink("/etc/passwd", filepath.Join(d.dir, "landed/Demo.app/Contents/evil")))
		},
		"a relative link out of it": func(d *double) {
			d.must(os.Symlink("../../Demo.pkg", filepath.Join(d.dir, "landed/Demo.app/Contents/evil")))
		},
		"a link that leads out by another": func(d *double) {
			d.put("landed/Demo.app/a/b/c/x", "")
			d.must(os.Symlink("../../..", filepath.Join(d.dir, "landed/Demo.app/a/b/c/top")))
			d.must(os.Symlink("a/b/c/top/../Demo.pkg", filepath.Join(d.dir, "landed/Demo.app/evil")))
		},
		"a link as its Info.plist": func(d *double) {
			p := filepath.Join(d.dir, "landed/Demo.app/Contents/Info.plist")
			d.must(os.Remove(p))
			d.must(os.Symlink("/etc/passwd", p))
		},
		"a link as itself": func(d *double) {
			p := filepath.Join(d.dir, "landed/Demo.app")
			d.must(os.RemoveAll(p))
			d.must(os.Symlink("/etc", p))
		},
		"an Info.plist without an end": func(d *double) {
			d.put("landed/Demo.app/Contents/Info.plist", strings.Repeat("<dict>", 1<<19))
		},
		"a vast Info.plist": func(d *double) {
			d.put("landed/Demo.app/Contents/Info.plist", strings.Repeat(" ", maxPlist+1))
		},
	} {
		t.Run(what, func(t *testing.T) {
			d := &double{TB: t, dir: t.TempDir()}
			d.make()
			spoil(d)
			_, err := d.sign("Demo.app", Order{Identity: "-"})
			if err == nil {
				t.Error("it was signed")
			}
			if len(d.asked) > 0 {
				t.Errorf("ran %q, then: %v", d.asked, err)
			}
		})
	}
}

// TestFailureSaysWhatTheProgramSaid ends at the first program that fails.
func TestFailureSaysWhatTheProgramSaid(t *testing.T) {
	d := &double{TB: t, dir: t.TempDir(), fails: "MacOS/helper"}
	d.make()
	_, err := d.sign("Demo.app", Order{Identity: "developer id"})
	if err == nil || !strings.Contains(err.Error(), "errSecInternalComponent") || hint.Of(err) != SignAdvice {
		t.Errorf("%v: %s", err, hint.Of(err))
	}
}

// TestPlistsThatAreNotParsed are those on which the parser spends a person's time or memory.
func TestPlistsThatAreNotParsed(t *testing.T) {
	binaryList := func(objects byte) string {
		return "bplist00" + strings.Repeat("\xa1\x01", 100) + strings.Repeat("\x00", 13) + string(objects) + strings.Repeat("\x00", 18)
	}
	for what, text := range map[string]string{
		"old style":             "{ a = b; }",
		"old style, nested":     strings.Repeat("(", maxPlist),
		"old style, escapes":    `"` + strings.Repeat(`\U1234`, 100_000),
		"old style, as data":    "<" + strings.Repeat("ab", 1000) + ">",
		"nested":                "<?xml version=\"1.0\"?><plist>" + strings.Repeat("<array>", 100_000),
		"nested dictionaries":   "<plist>" + strings.Repeat("<dict><key>a</key>", 50_000),
		"binary, too short":     "bplist00",
		"binary, many objects":  binaryList(1),
		"nothing":               "",
		"a list that ends here": "<?xml version=\"1.0\"?><plist><dict>",
	} {
		var info infoPlist
		if err := parsePlist([]byte(text), &info); err == nil {
			t.Errorf("%s: is parsed: %+v", what, info)
		}
	}
	var info infoPlist
	if err := parsePlist([]byte("\n<plist version=\"1.0\"><dict><key>CFBundleIdentifier</key><string>a</string><key>b</key><true/></dict></plist>"), &info); err != nil || info.ID != "a" {
		t.Errorf("%+v, %v", info, err)
	}
}

func FuzzPlists(f *testing.F) {
	d := &double{TB: f, dir: f.TempDir()}
	f.Add([]byte(d.profile("p", nil)))
	f.Add([]byte(d.plistText(map[string]any{"CFBundleIdentifier": "a"})))
	f.Add([]byte("bplist00\xd1\x01\x02Qa\x09\x08\x0b\x0d"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var info infoPlist
		_ = parsePlist(text, &info)
		_, _ = parseProfile(text)
	})
}

func TestOutputIsBounded(t *testing.T) {
	var h head
	for range 3 {
		if n, err := io.WriteString(&h, strings.Repeat("x", maxOutput/2+1)); n != maxOutput/2+1 || err != nil {
			t.Error(n, err)
		}
	}
	if len(h.String()) != maxOutput {
		t.Error(len(h.String()))
	}
}

func TestExecute(t *testing.T) {
	out, err := execute(t.Context(), []string{"/bin/sh", "-c", "echo out; echo err >&2; exit 3"})
	// The two outputs are read side by side, in whatever order they come.
	if err == nil || out.Stdout != "out\n" || out.All != "out\nerr\n" && out.All != "err\nout\n" {
		t.Errorf("execute = %+v, %v", out, err)
	}
}
