package pf

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestQuestion: the question is laid out as macOS's kernel reads it: 84 bytes, ports after four addresses of 16 bytes.
func TestQuestion(t *testing.T) {
	if size := unsafe.Sizeof(natlook{}); size != natlookSize || diocnatlook != 0xc0544417 {
		t.Errorf("%d bytes, request %#x", size, uint32(diocnatlook))
	}
	q := question(netip.MustParseAddrPort("192.168.64.7:49152"), netip.MustParseAddrPort("127.0.0.1:40000"))
	b := (*[natlookSize]byte)(unsafe.Pointer(q))
	want := [natlookSize]byte{0: 192, 1: 168, 2: 64, 3: 7, 16: 127, 19: 1, 64: 0xc0, 65: 0, 68: 0x9c, 69: 0x40, 80: 2, 81: 6, 83: 2}
	if diff := cmp.Diff(want, *b); diff != "" {
		t.Error(diff)
	}
	copy(b[48:], []byte{93, 184, 215, 14})
	copy(b[76:], []byte{443 >> 8, 443 & 0xff})
	if got, want := q.answer(), netip.MustParseAddrPort("93.184.215.14:443"); got != want {
		t.Errorf("it wanted to go to %v, not %v", got, want)
	}
}

// double stands for pfctl: it keeps what is loaded, counts who has turned the filter on, and says what macOS's says.
const double = `#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>calls
echo "No ALTQ support in kernel
ALTQ related functions disabled" >&2
case "$*" in
"-s rules") cat rules ;;
"-s nat") cat nat ;;
"-s Interfaces -i lo0 -v") cat interfaces ;;
-E)
	n=$(($(cat tokens 2>/dev/null | wc -l) + 700))
	echo $n >>tokens
	cat enabled-says >&2
	echo "Token : $n" >&2
	;;
"-X "*)
	grep -qx "$2" tokens || { echo "pfctl: Invalid token" >&2; exit 1; }
	sed -i "/^$2\$/d" tokens
	;;
"-a com.apple/calmenu -f -")
	echo "pfctl: Use of -f option, could result in flushing of rules
present in the main ruleset added by the system at startup.
See /etc/pf.conf for further details.
" >&2
	cat >loading
	if grep -n bad loading >/dev/null; then echo "stdin:1: syntax error" >&2; exit 1; fi
	mv loading loaded
	;;
"-a com.apple/calmenu -F all") rm -f loaded ;;
*) echo "usage: pfctl" >&2; exit 1 ;;
esac
`

// filter is a machine with the double.
type filter struct {
	t   *testing.T
	dir string
}

func newFilter(t *testing.T) *filter {
	f := &filter{t, t.TempDir()}
	f.write("pfctl", double)
	must(t, os.Chmod(filepath.Join(f.dir, "pfctl"), 0o755))
	f.write("rules", "scrub-anchor \"com.apple/*\" all fragment reassemble\nanchor \"com.apple/*\" all\n")
	f.write("nat", "nat-anchor \"com.apple/*\" all\nrdr-anchor \"com.apple/*\" all\n")
	f.write("interfaces", "lo0\n")
	f.write("enabled-says", "pf enabled\n")
	t.Setenv("PATH", f.dir+":"+os.Getenv("PATH"))
	return f
}

func (f *filter) write(name, text string) {
	must(f.t, os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600))
}

// read is "" for what is not there.
func (f *filter) read(name string) string {
	data, _ := os.ReadFile(filepath.Join(f.dir, name))
	return string(data)
}

func (f *filter) token() string { return filepath.Join(f.dir, "pf.token") }

// TestFilter: rules are loaded and replaced in the anchor alone, and at the end the filter is as it was.
func TestFilter(t *testing.T) {
	f := newFilter(t)
	p, err := Open(t.Context(), f.token())
	must(t, err)
	for _, rules := range []string{"pass quick on lo0 all\n", "no rdr on lo0 all\npass all\n"} {
		must(t, p.Load(t.Context(), rules))
		if got := f.read("loaded"); got != rules {
			t.Errorf("loaded:\n%s", got)
		}
	}
	if err := p.Load(t.Context(), "bad\n"); err == nil || !strings.Contains(err.Error(), "stdin:1: syntax error") {
		t.Errorf("bad rules: %v", err)
	}
	if got := f.read("loaded"); !strings.HasPrefix(got, "no rdr") {
		t.Errorf("after bad rules are loaded:\n%s", got)
	}
	must(t, p.Clear(t.Context()))
	if f.read("loaded") != "" || f.read("tokens") == "" {
		t.Errorf("cleared: rules %q, turned on by %q", f.read("loaded"), f.read("tokens"))
	}
	must(t, p.Load(t.Context(), "pass all\n"))
	must(t, p.Close(t.Context()))
	if f.read("loaded") != "" || f.read("tokens") != "" || f.read("pf.token") != "" {
		t.Errorf("left: rules %q, tokens %q, file %q", f.read("loaded"), f.read("tokens"), f.read("pf.token"))
	}
}

// TestFilterAfterAKill: who was killed is turned off by the next; others that have the filter on are not.
func TestFilterAfterAKill(t *testing.T) {
	f := newFilter(t)
	f.write("tokens", "12\n") // Internet Sharing's, say
	killed, err := Open(t.Context(), f.token())
	must(t, err)
	must(t, killed.Load(t.Context(), "pass all\n"))
	f.write("enabled-says", "pfctl: pf already enabled\n")
	next, err := Open(t.Context(), f.token())
	must(t, err)
	if got := f.read("tokens"); strings.Count(got, "\n") != 2 || strings.Contains(got, killed.token) {
		t.Errorf("turned on by %q", got)
	}
	must(t, next.Close(t.Context()))
	if got := f.read("tokens"); got != "12\n" {
		t.Errorf("turned on by %q", got)
	}
	// After the machine has started, nobody knows the token.
	f.write("pf.token", "4711\n")
	again, err := Open(t.Context(), f.token())
	must(t, err)
	must(t, again.Close(t.Context()))
}

// TestFilterThatWouldDoNothing: where rules in the anchor would redirect nothing, it is said why, and nothing is turned on.
func TestFilterThatWouldDoNothing(t *testing.T) {
	for what, tt := range map[string]struct{ file, text, want string }{
		"no rules":      {"rules", "anchor \"mine\" all\n", `does not evaluate anchor "com.apple/*"`},
		"only rdr":      {"rules", "rdr-anchor \"com.apple/*\" all\n", `does not evaluate anchor "com.apple/*"`},
		"no rdr":        {"nat", "", `does not evaluate rdr-anchor "com.apple/*"`},
		"lo0 skipped":   {"interfaces", "lo0 (skip)\n", "skips lo0"},
		"pfctl changed": {"pfctl", "#!/bin/sh\necho 'pfctl: Operation not permitted' >&2\nexit 1\n", "Operation not permitted"},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFilter(t)
			f.write(tt.file, tt.text)
			if _, err := Open(t.Context(), f.token()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			if strings.Contains(f.read("calls"), "-E") {
				t.Error("it is turned on")
			}
		})
	}
	f := newFilter(t)
	f.write("pfctl", strings.Replace(double, "Token :", "Tokens:", 1))
	if _, err := Open(t.Context(), f.token()); err == nil || !strings.Contains(err.Error(), "names no token") {
		t.Errorf("no token: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, f.token()); err == nil {
		t.Error("it is opened after its time")
	}
}
