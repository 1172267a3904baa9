// Package corpus is what a hostile guest may put into its outbox, all at once, with the verdict on each: a table that the
// test of every transport goes through, on this machine and in a real guest.
package corpus

import (
	"fmt"
	"strings"
)

// MaxFile is the limit on a file's bytes that the verdicts are for; the other limits are the defaults.
const MaxFile = 2_000_000

// Case is one thing of the guest's.
type Case struct {
	What   string
	Name   string // of the artifact, or of what is refused, below the outbox
	Reason string // beginning of the reason; empty: it lands
	Make   []Op
}

// Op makes one thing below the outbox. Directories above it are made as well.
type Op struct {
	Kind   Kind
	Path   string // bytes, but for NUL
	Target string // of links; a hard link's is below the outbox, or "/elsewhere": outside of it
	Size   int64  // of a hole
	Mode   uint32 // permission bits; 0: as files and directories usually have them
	Sec    int64  // the time it says it was modified, if Aged
}

// Kind is what an Op makes.
type Kind int

// What an Op makes.
const (
	File   Kind = iota // with its own path in it
	Empty              // without a byte
	Hole               // of Size bytes
	Dir                //
	Link               // symbolic, to Target
	Hard               // another name of Target
	Fifo               //
	Socket             //
	Device             // a character device; needs root
	Chmod              // what is there
	Aged               // what is there
)

// Elsewhere is the target of hard links to what is outside of the outbox.
const Elsewhere = "/elsewhere"

// Secret is in the target of symbolic links for a file that must not be read, outside of the outbox.
const Secret = "{secret}"

func file(path string) Op { return Op{Kind: File, Path: path} }

func link(path, target string) Op { return Op{Kind: Link, Path: path, Target: target} }

// Cases are all of them. They do not get into each other's way.
func Cases() []Case {
	var all []Case
	for _, group := range [][]Case{
		plainNames(), otherKinds(), controls(), encodings(), reservedNames(), clashes(), bundles(), bundleLinks(), limits(),
	} {
		all = append(all, group...)
	}
	return all
}

// plainNames land, however odd they look.
func plainNames() (cases []Case) {
	for _, c := range []struct{ what, name string }{
		{"plain file", "plain"},
		{"spaces", " with  spaces "},
		{"an option", "-rf"},
		{"two options", "--to-command=sh"},
		{"an option of tar", "--checkpoint-action=exec=sh"},
		{"an option of rsync", "-e sh"},
		{"a shell's expansion", "$(touch pwned);`id`"},
		{"quotes", `it's "quoted"`},
		{"a star", "*"},
		{"a question mark", "what?"},
		{"brackets", "[a-z]"},
		{"braces", "{a,b}"},
		{"a backslash", `back\slash`},
		{"tar's escapes", `tab\tnew\nline`},
		{"an octal escape", `\101`},
		{"a percent", "%s%n%d"},
		{"percent encoding", "%2e%2e%2fup"},
		{"a colon", "host:file"},
		{"a tilde", "~root"},
		{"an at sign", "@LongLink"},
		{"tar's own", "@PaxHeader"},
		{"a hash", "#comment"},
		{"an exclamation mark", "!history"},
		{"a pipe", "a|sh"},
		{"an ampersand", "a&b"},
		{"a redirection", "a>b"},
		{"a dollar", "$HOME"},
		{"an equals sign", "PATH=."},
		{"a semicolon", "a;b"},
		{"hidden", ".profile"},
		{"three dots", "..."},
		{"dots and a letter", "..a"},
		{"a dot at the end", "end."},
		{"a space at the end", "end "},
		{"a device of Windows", "NUL"},
		{"a desktop entry", "evil.desktop"},
		{"a script", "run.sh"},
		{"a command file", "run.command"},
		{"a git directory", "repo/.git/config"},
		{"a pattern of ours", "node_modules/x"},
		{"emoji with a joiner", "👩\u200d💻"},
		{"a flag", "🇩🇪"},
		{"accents", "café"},
		{"accents apart", "caf\u0065\u0301s"},
		{"Arabic", "ملف"},
		{"Hebrew", "קובץ"},
		{"Chinese", "文件"},
		{"Hindi with a joiner", "क्\u200dष"},
		{"Thai", "ไฟล์"},
		{"Korean", "한글"},
		{"a private-use letter", "\ue000"},
		{"a letter beyond the first plane", "𝒳"},
		{"a full-width slash", "a／b"},
		{"a fraction slash", "a⁄b"},
		{"a no-break space", "a\u00a0b"},
		{"an ideographic space", "a\u3000b"},
		{"a soft thing in a name", "ﬁle"},
		{"a name longer than a tar header", "dir/" + strings.Repeat("x", 120)},
		{"the longest name", strings.Repeat("n", 240)},
		{"the deepest name", strings.Repeat("deep/", 32) + "file"},
		{"a directory named as a bundle's ending", ".app/x"},
		{"a file named as a bundle", "file.app"},
		{"a bundle's ending within", "a.app.txt"},
	} {
		cases = append(cases, Case{What: "name: " + c.what, Name: "names/" + c.name, Make: []Op{file("names/" + c.name)}})
	}
	// The deepest and the longest are as deep and long below another directory.
	for i := range cases {
		if strings.Contains(cases[i].Name, "/deep/") {
			cases[i].Name = strings.TrimPrefix(cases[i].Name, "names/")
			cases[i].Make = []Op{file(cases[i].Name)}
		}
	}
	return cases
}

func otherKinds() []Case {
	one := func(what, name, reason string, ops ...Op) Case { return Case{what, name, reason, ops} }
	return []Case{
		one("empty file", "kinds/empty", "", Op{Kind: Empty, Path: "kinds/empty"}),
		one("sparse file", "kinds/sparse", "", Op{Kind: Hole, Path: "kinds/sparse", Size: 1 << 20}),
		one("hard links that are both in the outbox", "kinds/twin1", "", file("kinds/twin1"),
			Op{Kind: Hard, Path: "kinds/twin2", Target: "kinds/twin1"}),
		one("setuid", "kinds/setuid", "", file("kinds/setuid"), Op{Kind: Chmod, Path: "kinds/setuid", Mode: 0o4777}),
		one("setgid", "kinds/setgid", "", file("kinds/setgid"), Op{Kind: Chmod, Path: "kinds/setgid", Mode: 0o2777}),
		one("sticky", "kinds/sticky", "", file("kinds/sticky"), Op{Kind: Chmod, Path: "kinds/sticky", Mode: 0o1666}),
		one("a time before all times", "kinds/old", "", file("kinds/old"), Op{Kind: Aged, Path: "kinds/old", Sec: -1 << 31}),
		one("a time after all times", "kinds/future", "", file("kinds/future"), Op{Kind: Aged, Path: "kinds/future", Sec: 1 << 33}),

		one("link to a secret", "links/absolute", "is a symbolic link", link("links/absolute", Secret)),
		one("link upwards", "links/up", "is a symbolic link", link("links/up", "../../../../../../../../etc/passwd")),
		one("link to the root", "links/root", "is a symbolic link", link("links/root", "/")),
		one("link to the processes", "links/proc", "is a symbolic link", link("links/proc", "/proc/self/root")),
		one("link to a descriptor", "links/fd", "is a symbolic link", link("links/fd", "/proc/self/fd/0")),
		one("link to a device", "links/zero", "is a symbolic link", link("links/zero", "/dev/zero")),
		one("link within the outbox", "links/within", "is a symbolic link", link("links/within", "../names/plain")),
		one("link to a directory of the outbox", "links/dir", "is a symbolic link", link("links/dir", "../names")),
		one("link to the outbox itself", "links/self", "is a symbolic link", link("links/self", "..")),
		one("link to itself", "links/loop", "is a symbolic link", link("links/loop", "loop")),
		one("two links to each other", "links/ping", "is a symbolic link", link("links/ping", "pong")),
		one("the other of them", "links/pong", "is a symbolic link", link("links/pong", "ping")),
		one("link to nowhere", "links/broken", "is a symbolic link", link("links/broken", "nowhere")),
		one("link with blanks", "links/blank", "is a symbolic link", link("links/blank", " ")),
		one("link with a control character in its target", "links/control", "is a symbolic link",
			link("links/control", "a\x1b[31m\nb")),
		one("link named as a bundle", "links/Link.app", "is a symbolic link", link("links/Link.app", "/")),
		one("hard link to a file elsewhere", "links/hard", "is a hard link", Op{Kind: Hard, Path: "links/hard", Target: Elsewhere}),
		one("FIFO", "kinds/fifo", "is a FIFO", Op{Kind: Fifo, Path: "kinds/fifo"}),
		one("socket", "kinds/socket", "is a socket", Op{Kind: Socket, Path: "kinds/socket"}),
		one("device", "kinds/device", "is a device", Op{Kind: Device, Path: "kinds/device"}),
	}
}

// controls are characters that do something to the text around them.
func controls() (cases []Case) {
	bad := func(what string, r rune) {
		name := fmt.Sprintf("controls/%04x%cb", r, r)
		cases = append(cases, Case{
			What: fmt.Sprintf("%s U+%04X", what, r), Name: name, Make: []Op{file(name)},
			Reason: fmt.Sprintf("name has the control character %U", r),
		})
	}
	for r := rune(1); r < 0x20; r++ {
		bad("control character", r)
	}
	bad("control character", 0x7f)
	for r := rune(0x80); r < 0xa0; r++ {
		bad("control character", r)
	}
	for _, r := range []rune{0x61c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069} {
		bad("direction", r)
	}
	for _, r := range []rune{0x200b, 0x2060, 0xfeff, 0x206a, 0x206f, 0xfff9, 0xfffa, 0xfffb} {
		bad("invisible character", r)
	}
	for _, r := range []rune{0x2028, 0x2029} {
		bad("separator", r)
	}
	for _, r := range []rune{0xe0001, 0xe0041, 0xe007f} {
		bad("tag", r)
	}
	for _, r := range []rune{0xfdd0, 0xfdef, 0xfffe, 0xffff, 0x1fffe, 0x10ffff} {
		bad("noncharacter", r)
	}
	return cases
}

func encodings() (cases []Case) {
	for _, c := range []struct{ what, bytes string }{
		{"no UTF-8", "\xff\xfe"},
		{"overlong slash", "\xc0\xaf"},
		{"overlong dot", "\xc0\xae\xc0\xae"},
		{"longer slash", "\xe0\x80\xaf"},
		{"surrogate", "\xed\xa0\x80"},
		{"pair of surrogates", "\xed\xa0\xbd\xed\xb8\x80"},
		{"cut", "caf\xc3"},
		{"continuation alone", "\x80"},
		{"beyond Unicode", "\xf4\x90\x80\x80"},
		{"Latin-1", "caf\xe9"},
	} {
		name := "encodings/" + c.bytes
		cases = append(cases, Case{"encoding: " + c.what, name, "name is not valid UTF-8", []Op{file(name)}})
	}
	return cases
}

func reservedNames() (cases []Case) {
	for _, c := range []struct{ what, name string }{
		{"staging", ".cal-staging"},
		{"versions", ".versions"},
		{"versions by case", ".VERSIONS"},
		{"versions by an ignored character", ".ver\u200csions"},
		{"our prefix", ".cal"},
		{"our prefix, longer", ".calendar"},
		{"our prefix by case", ".Cal-x"},
	} {
		cases = append(cases, Case{"reserved: " + c.what, c.name, "name is reserved", []Op{file(c.name + "/x")}})
	}
	return cases
}

// clashes are names that some file system takes for one; the first of two in the order of their bytes lands.
func clashes() (cases []Case) {
	for i, c := range []struct{ what, lands, clashes string }{
		{"case", "README", "readme"},
		{"case of one letter", "aB", "ab"},
		{"normalisation", "e\u0301", "\u00e9"},
		{"folding", "strasse", "straße"},
		{"a compatibility letter", "K", "\u212a"},
		{"an angstrom", "A\u030a", "\u212b"},
		{"final sigma", "ΟΔΟΣ", "οδος"},
		{"Cyrillic case", "ЖУК", "жук"},
		{"a joiner", "ab", "a\u200db"},
		{"a non-joiner", "xy", "x\u200cy"},
		{"Hangul apart", "\u1112\u1161\u11ab", "\ud55c"},
		{"two accents in another order", "q\u0307\u0323", "q\u0323\u0307"},
		{"long s", "S", "ſ"},
		{"Deseret case", "𐐀", "𐐨"},
	} {
		dir := fmt.Sprintf("clashes/%d/", i)
		first, second := c.lands, c.clashes
		if second < first {
			first, second = second, first
		}
		cases = append(cases,
			Case{"clash by " + c.what + ", first", dir + first, "", []Op{file(dir + first)}},
			Case{"clash by " + c.what + ", second", dir + second, "differs from ", []Op{file(dir + second)}})
	}
	return append(cases,
		Case{"clash of directories, first", "clashes/dirs/DIR/a", "", []Op{file("clashes/dirs/DIR/a")}},
		Case{
			"clash of directories, second", "clashes/dirs/dir", "differs from clashes/dirs/DIR only",
			[]Op{file("clashes/dirs/dir/b")},
		})
}
