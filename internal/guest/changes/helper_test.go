package changes

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/resources"
)

// helped is a guest in which CALMenu's own program says what it is told to say, and a script nothing changed.
type helped struct {
	said    string
	missing int // how often the program is not there
	asked   []string
	since   string
	lingers chan struct{} // unless nil, the program goes on after its answer until this is closed
}

func (h *helped) Stream(_ context.Context, c guest.Cmd, stdout, _ io.Writer) (int, error) {
	if c.Argv[0] != "sudo" {
		h.asked = append(h.asked, "script")
		return 0, errors.New("no more")
	}
	h.asked = append(h.asked, "program")
	if h.missing > 0 {
		h.missing--
		return 1, nil
	}
	before, rest, asks := strings.Cut(h.said, "\x00n")
	_, _ = io.WriteString(stdout, before)
	if asks {
		line := make([]byte, 64)
		_, _ = io.WriteString(stdout, "\x00")
		n, _ := c.Stdin.Read(line)
		h.since = string(line[:n])
		_, _ = io.WriteString(stdout, "n"+rest)
	}
	if h.lingers != nil {
		<-h.lingers
		_, _ = io.WriteString(stdout, "nyours 1 1 1\x00")
	}
	return 0, nil
}

func (h *helped) GuestOS() string { return "linux" }

func (h *helped) Output(context.Context, guest.Cmd) (guest.Result, error) {
	h.asked = append(h.asked, "look")
	return guest.Result{}, nil
}

func (h *helped) WriteFile(context.Context, string, os.FileMode, []byte) error { return nil }

const helperAnswer = "h/home/me\x00c1800000000.000000000\x00nyours 50000 3 12345\x00ngit 7 1 9\x00nsystem 2 0 5\x00" +
	"ncaches 1 1 1\x00t4096 a \x1b[1m name\x00t12 b\x00g./app/.git\x00x0\x00r./app/.git\x00kabc 1800000000 One\x00e0\x00z\x00"

func TestHelper(t *testing.T) {
	if _, err := resources.CalHelper("linux"); err != nil {
		t.Skipf("needs the guest's programs: %v", err)
	}
	since := time.Now().Add(-time.Hour)
	want := Report{
		Since: since,
		Yours: Count{Files: 50000, Folders: 3, Bytes: 12345}, Git: Count{Files: 7, Folders: 1, Bytes: 9},
		System: Count{Files: 2, Bytes: 5}, Caches: Count{Files: 1, Folders: 1, Bytes: 1},
		Top: []File{{"a ?[1m name", 4096}, {"b", 12}},
		Repos: []Repo{{Path: "app", Commits: 1, Newest: []Commit{
			{ID: "abc", Time: time.Unix(1800000000, 0).UTC(), Subject: "One"},
		}}},
	}
	for _, missing := range []int{0, 1} {
		g := &helped{said: helperAnswer, missing: missing}
		got, err := Scan(t.Context(), g, since, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if !strings.HasPrefix(g.since, "17999963") || !strings.HasSuffix(g.since, "\n") {
			t.Errorf("it was told the instant is %q", g.since)
		}
		if asked := []string{"program", "look", "program"}; missing > 0 && !slices.Equal(g.asked, asked) ||
			missing == 0 && len(g.asked) != 1 {
			t.Errorf("asked %q", g.asked)
		}
	}
}

// TestHelperThatLingers has a program that does not end with its answer: it is not waited for, and what else it says is nothing.
func TestHelperThatLingers(t *testing.T) {
	if _, err := resources.CalHelper("linux"); err != nil {
		t.Skipf("needs the guest's programs: %v", err)
	}
	g := &helped{said: helperAnswer, lingers: make(chan struct{})}
	got, err := Scan(t.Context(), g, time.Now(), Limits{})
	close(g.lingers)
	if err != nil || got.Yours.Files != 50000 || got.Incomplete {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHelperThatCannot has find do it where the program is missing for good or does not know the file system.
func TestHelperThatCannot(t *testing.T) {
	for name, x := range map[string]struct {
		guest helped
		asked []string
	}{
		"missing": {helped{missing: 2}, []string{"program", "look", "program", "script"}},
		"refuses": {helped{said: "unot an ext4\x00"}, []string{"program", "script"}},
	} {
		if _, err := Scan(t.Context(), &x.guest, time.Now(), Limits{}); err == nil || !slices.Equal(x.guest.asked, x.asked) {
			t.Errorf("%s: asked %q, %v", name, x.guest.asked, err)
		}
	}
}

// FuzzHelper has a program that says anything.
func FuzzHelper(f *testing.F) {
	f.Add(helperAnswer)
	f.Add("nyours 1 1 1\x00nyours 2 2 2\x00n\x00nall 1 1 1\x00ngit -1 0 99999999999999999999\x00+f 1 x\x00t\x00g\x00x\x00x1\x00")
	f.Add("u\x00t1 a\x00t2 b\x00t3 c\x00t4 d\x00g./a\x00g./b\x00g./c\x00g./d\x00x0\x00r./a\x00r./b\x00r./c\x00")
	f.Fuzz(func(t *testing.T, said string) {
		l := Limits{Top: 3, Repos: 2, Commits: 3, Newest: 2}.withDefaults()
		a := newCounted(newHome(l, func(string) {}, func([]string) {}), &system{l: l})
		w := &splitter{field: a.field}
		_, _ = io.WriteString(w, said)
		r := report(time.Unix(0, 0), a.home, a.system)
		if len(r.Top) > l.Top || len(r.Repos) > l.Repos || len(a.home.found.GitDirs) > l.Repos+1 {
			t.Errorf("beyond its limits: %+v", r)
		}
		for _, c := range []Count{r.Yours, r.Git, r.System, r.Caches} {
			if c.Files < 0 || c.Folders < 0 || c.Bytes < 0 {
				t.Errorf("less than nothing: %+v", c)
			}
		}
		for _, line := range r.Lines(60) {
			if strings.ContainsFunc(line, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
				t.Errorf("not fit for a terminal: %q", line)
			}
		}
	})
}
