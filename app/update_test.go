package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/hint"
)

// feed answers as the project's release feed does, on loopback, and counts how often it was asked.
func feed(t *testing.T, version string, answer http.HandlerFunc) (*updates, *int) {
	t.Helper()
	asked := new(int)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		if r.Method != http.MethodGet || r.Header.Get("User-Agent") != "CALMenu" || r.URL.RawQuery != "" {
			t.Errorf("asked by %s %s with %v", r.Method, r.URL, r.Header)
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return &updates{
		file: filepath.Join(t.TempDir(), "update.json"), version: version, feed: server.URL + "/latest",
		client: updateClient(server.Client().Transport), now: time.Now,
	}, asked
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, text) }
}

func TestUpdateIsFound(t *testing.T) {
	u, _ := feed(t, "v1.1.0", says(`{"tag_name":"v1.2.0","html_url":"https://elsewhere.example/","draft":false}`))
	if known, err := u.known(); err != nil || known.Newer {
		t.Fatalf("before any check, %+v is known (%v)", known, err)
	}
	found, err := u.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !found.Newer || found.Version != "1.2.0" || found.URL != releasePages+"v1.2.0" {
		t.Errorf("found %+v", found)
	}
	known, err := u.known()
	if err != nil || known.Version != "1.2.0" || !known.Newer {
		t.Errorf("known is %+v, %v", known, err)
	}
	// The same file, read by the build it is about.
	u.version = "v1.2.0"
	if known, err = u.known(); err != nil || known.Newer {
		t.Errorf("after the update, known is %+v, %v", known, err)
	}
}

func TestUpdateFeedMisbehaves(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no release yet": {http.NotFound, "no release yet"},
		"asked too often": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "429",
		},
		"no JSON":         {says("<html>Sign in to this network</html>"), "invalid character"},
		"nothing in it":   {says("{}"), "names no release"},
		"a draft":         {says(`{"tag_name":"v9.0.0","draft":true}`), "names no release"},
		"a preview":       {says(`{"tag_name":"v9.0.0","prerelease":true}`), "names no release"},
		"another tag":     {says(`{"tag_name":"nightly"}`), "names no release"},
		"a preview's tag": {says(`{"tag_name":"v9.0.0-rc.1"}`), "no version such as"},
		"a hostile tag":   {says(`{"tag_name":"v1.0.0/../../../evil"}`), "no version such as"},
		"too long":        {says(`{"tag_name":"` + strings.Repeat("v", maxFeed) + `"}`), "too long"},
		"sent elsewhere": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
			},
			"redirected to somewhere else",
		},
		"sent to plain http": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
			},
			"redirected to somewhere else",
		},
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := feed(t, "v1.0.0", tt.answer)
			_, err := u.check(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("check = %v, want %q", err, tt.want)
			}
			if u.due() {
				t.Error("a feed that fails is asked again at once")
			}
			if known, err := u.known(); err != nil || known.Newer {
				t.Errorf("known is %+v, %v", known, err)
			}
		})
	}
	u, _ := feed(t, "v1.0.0", says(""))
	u.feed = "https://127.0.0.1:1/latest"
	if _, err := u.check(t.Context()); !strings.Contains(hint.Of(err), "HTTPS_PROXY") {
		t.Errorf("without a network: %v, hint %q", err, hint.Of(err))
	}
}

func TestUpdateMovedOnTheSameHost(t *testing.T) {
	u, asked := feed(t, "v1.0.0", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/latest" {
			http.Redirect(w, r, "/repositories/1/latest", http.StatusMovedPermanently)
			return
		}
		says(`{"tag_name":"v1.0.1"}`)(w, r)
	})
	if found, err := u.check(t.Context()); err != nil || !found.Newer || *asked != 2 {
		t.Errorf("found %+v, %v, asked %d times", found, err, *asked)
	}
}

func TestUpdateIsDue(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		checked, tried time.Duration // ago; 0 is never
		want           bool
	}{
		"never asked":            {0, 0, true},
		"asked an hour ago":      {time.Hour, time.Hour, false},
		"asked a day ago":        {24 * time.Hour, 24 * time.Hour, true},
		"failed just now":        {48 * time.Hour, time.Minute, false},
		"failed two hours ago":   {48 * time.Hour, 2 * time.Hour, true},
		"the clock was put back": {-time.Hour, -time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			u := &updates{file: filepath.Join(t.TempDir(), "update.json"), now: func() time.Time { return now }}
			var r remembered
			if tt.checked != 0 {
				r.Checked = now.Add(-tt.checked)
			}
			if tt.tried != 0 {
				r.Tried = now.Add(-tt.tried)
			}
			if err := u.remember(r); err != nil {
				t.Fatal(err)
			}
			if got := u.due(); got != tt.want {
				t.Errorf("due is %v", got)
			}
		})
	}
	u := &updates{file: filepath.Join(t.TempDir(), "update.json"), now: time.Now}
	if err := os.WriteFile(u.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := u.known(); err == nil || !u.due() {
		t.Errorf("a broken file: known = %v, due is %v", err, u.due())
	}
}

func TestNewer(t *testing.T) {
	for _, tt := range []struct {
		release, build string
		want           bool
	}{
		{"1.2.0", "v1.1.9", true},
		{"1.10.0", "v1.9.0", true},
		{"2.0.0", "1.99.99", true},
		{"1.2.0", "v1.2.0", false},
		{"1.2.0", "v1.2.1", false},
		{"1.2.0", "v1.2.0-rc.1", true},
		{"1.2.0", "v1.2.0-4-gabcdef1", false},
		{"1.2.0", "v1.2.0-4-gabcdef1-dirty", false},
		{"1.2.0", "v1.2.0-dirty", false},
		{"0.1.0", "0.1.0-dev+1234567", true},
		{"1.2.0", "unknown", true},
		{"unknown", "v1.0.0", false},
	} {
		if got := newer(tt.release, tt.build); got != tt.want {
			t.Errorf("newer(%q, %q) is %v", tt.release, tt.build, got)
		}
	}
	for version, want := range map[string]bool{
		"v1.2.3": true, "1.2.3": true, "v1.2.3-dirty": false, "0.1.0-dev": false, "v1.2.3-1-gabc": false, "1.2": false, "": false,
	} {
		if isRelease(version) != want {
			t.Errorf("isRelease(%q) is %v", version, !want)
		}
	}
}

// TestUpdateTakesTheProxy holds that the feed is asked through the proxy the environment names.
func TestUpdateTakesTheProxy(t *testing.T) {
	a, _ := open(t)
	transport, ok := a.updates().client.Transport.(*http.Transport)
	if !ok || transport.Proxy == nil {
		t.Error("proxies are passed by")
	}
}

// TestUpdateAvailable reads what a check left, and honours update.check.
func TestUpdateAvailable(t *testing.T) {
	a, _ := open(t)
	if err := a.updates().remember(remembered{Checked: time.Now(), Version: "99.0.0"}); err != nil {
		t.Fatal(err)
	}
	if u, ok := a.UpdateAvailable(); !ok || u.Version != "99.0.0" {
		t.Errorf("available is %+v, %v", u, ok)
	}
	a.flags = map[string]string{"update.check": "false"}
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if u, ok := a.UpdateAvailable(); ok {
		t.Errorf("available although nobody wants to know: %+v", u)
	}
}

// answers is a feed without a network: each question takes the next answer, and the last one stays.
type answers []string

func (a *answers) RoundTrip(*http.Request) (*http.Response, error) {
	text := (*a)[0]
	if len(*a) > 1 {
		*a = (*a)[1:]
	}
	if text == "" {
		return nil, errors.New("no network")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text))}, nil
}

// TestUpdatesAreWatched lives through a week: a failure is tried again within the day, news are told once, and nobody is
// asked while it is not wanted.
func TestUpdatesAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		feed := &answers{"", `{"tag_name":"v1.0.0"}`, `{"tag_name":"v1.1.0"}`}
		u := &updates{
			file: filepath.Join(t.TempDir(), "update.json"), version: "v1.0.0", feed: releaseFeed,
			client: updateClient(feed), now: time.Now,
		}
		var told, failed []time.Duration
		wanted := func() bool { return time.Since(began) < 100*time.Hour }
		ctx, cancel := context.WithTimeout(t.Context(), 7*24*time.Hour)
		defer cancel()
		u.watch(ctx, wanted,
			func() { told = append(told, time.Since(began)) },
			func(error) { failed = append(failed, time.Since(began)) })
		// Failed at once, answered after an hour with the same version, and after another day with news.
		if diff := cmp.Diff([]time.Duration{0}, failed); diff != "" {
			t.Error("failed", diff)
		}
		if diff := cmp.Diff([]time.Duration{25 * time.Hour}, told); diff != "" {
			t.Error("told", diff)
		}
		r, err := u.remembered()
		if err != nil || r.Checked.Sub(began) != 97*time.Hour {
			t.Errorf("last asked after %v (%v)", r.Checked.Sub(began), err)
		}
	})
}

// TestNobodyAsksForWhatIsNoRelease holds that a build of a developer never asks by itself.
func TestNobodyAsksForWhatIsNoRelease(t *testing.T) {
	a, _ := open(t)
	if isRelease(Version()) {
		t.Fatalf("a test is no release, but its version is %s", Version())
	}
	a.WatchUpdates(t.Context(), func() { t.Error("somebody was told") })
	if _, err := os.Stat(a.updates().file); err == nil {
		t.Error("the feed was asked")
	}
}
