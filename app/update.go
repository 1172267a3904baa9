package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/calmenu/calmenu/internal/atomicfile"
	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/lazyre"
)

const (
	// releaseFeed is the one address CALMenu asks by itself: the newest release of the project, as JSON.
	releaseFeed = "https://api.github.com/repos/calmenu/calmenu/releases/latest"
	// releasePages is what the page of a release begins with; a tag follows.
	releasePages = "https://github.com/calmenu/calmenu/releases/tag/"

	updateEvery   = 24 * time.Hour
	updateRetry   = time.Hour // after a failure
	updateTimeout = 20 * time.Second
	maxFeed       = 1 << 20 // bytes; an answer is a few kB
)

// Update is the newest release of CALMenu, as the project's feed told it.
type Update struct {
	Version string    `json:"version"` // such as 1.2.0
	URL     string    `json:"url"`     // page about it, of the project's own
	Newer   bool      `json:"newer"`   // than this build
	Checked time.Time `json:"checked"`
}

// UpdateAvailable returns the release that is newer than this build, if the last check has found one. It asks nobody.
func (a *App) UpdateAvailable() (Update, bool) {
	if !a.Config().Update.Check {
		return Update{}, false
	}
	u, err := a.updates().known()
	if err != nil {
		a.Log.Warn().Err(err).Msg("reading what is known of updates")
	}
	return u, err == nil && u.Newer
}

// CheckUpdate asks the project's feed for the newest release, whatever update.check says. Nothing is sent but the
// question, and nothing is downloaded but the answer.
func (a *App) CheckUpdate(ctx context.Context) (Update, error) { return a.updates().check(ctx) }

// WatchUpdates checks once a day until ctx ends, while update.check is true, and calls told if there is news. A build
// that is not a release never asks.
func (a *App) WatchUpdates(ctx context.Context, told func()) {
	for ctx.Err() == nil {
		active, cancel, err := a.Rhythm.Active(ctx)
		if err != nil {
			return
		}
		a.updates().watch(active, func() bool { return a.Config().Update.Check }, told, func(err error) {
			a.Log.Info().Err(err).Msg("checking for an update")
		})
		rested := active.Err() != nil
		cancel()
		if !rested {
			return // a build that never asks
		}
	}
}

func (a *App) updates() *updates {
	return &updates{
		file: filepath.Join(a.Home.Dir, "update.json"), version: Version(), feed: releaseFeed,
		client: updateClient(http.DefaultTransport), now: time.Now,
	}
}

// updates is the check for updates of one build.
type updates struct {
	file, version, feed string
	client              *http.Client
	now                 func() time.Time
}

// updateClient follows a moved project to another path of the same host, and nowhere else. The default transport takes
// the proxy that the environment names.
func updateClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" || r.URL.Host != via[0].URL.Host || len(via) > 3 {
				return errors.New("it was redirected to somewhere else")
			}
			return nil
		},
	}
}

// remembered is the file that outlives a process.
type remembered struct {
	Tried   time.Time `json:"tried"`             // when the feed was asked last
	Checked time.Time `json:"checked,omitzero"`  // when it answered last
	Version string    `json:"version,omitempty"` // what it answered
}

func (u *updates) remembered() (remembered, error) {
	var r remembered
	b, err := os.ReadFile(u.file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return remembered{}, fmt.Errorf("reading the last check for updates: %w", err)
	}
	return r, nil
}

func (u *updates) remember(r remembered) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("remembering the check for updates: %w", err)
	}
	return atomicfile.Write(u.file, append(b, '\n'), 0o600)
}

// due says whether it is time to ask. A file that cannot be read, or that is from the future, is no reason not to.
func (u *updates) due() bool {
	r, err := u.remembered()
	within := func(t time.Time, d time.Duration) bool {
		age := u.now().Sub(t)
		return age >= 0 && age < d
	}
	return err != nil || !within(r.Checked, updateEvery) && !within(r.Tried, updateRetry)
}

// watch checks when it is due and wanted, until ctx ends.
func (u *updates) watch(ctx context.Context, wanted func() bool, told func(), failed func(error)) {
	if !isRelease(u.version) {
		return
	}
	for {
		if wanted() && u.due() {
			before, _ := u.known()
			now, err := u.check(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				failed(err)
			case now.Newer && now.Version != before.Version:
				told()
			}
		}
		select {
		case <-ctx.Done():
			return
		// Looked at by the clock on the wall: a Mac that slept over a day checks soon after it wakes.
		case <-time.After(updateRetry / 4):
		}
	}
}

// known returns what the last check found, compared with this build, which may have been replaced since.
func (u *updates) known() (Update, error) {
	r, err := u.remembered()
	if err != nil || r.Version == "" {
		return Update{}, err
	}
	return u.found(r.Version, r.Checked)
}

func (u *updates) found(version string, checked time.Time) (Update, error) {
	if !isRelease(version) {
		return Update{}, fmt.Errorf("reading the newest release: %q is no version such as 1.2.0", clipTo(version, 40))
	}
	return Update{
		Version: version, URL: releasePages + "v" + version, Newer: newer(version, u.version), Checked: checked,
	}, nil
}

// check asks the feed and remembers the answer.
func (u *updates) check(ctx context.Context) (Update, error) {
	r, _ := u.remembered() // what cannot be read is written anew
	r.Tried = u.now()
	version, err := u.ask(ctx)
	if err != nil {
		return Update{}, errors.Join(err, u.remember(r))
	}
	found, err := u.found(version, r.Tried)
	if err != nil {
		return Update{}, errors.Join(err, u.remember(r))
	}
	r.Checked, r.Version = r.Tried, version
	return found, u.remember(r)
}

// ask returns the newest release's version.
func (u *updates) ask(ctx context.Context) (string, error) {
	const advice = "Check the network, and HTTPS_PROXY if this network needs a proxy; or look at " +
		"https://github.com/calmenu/calmenu/releases."
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.feed, nil)
	if err != nil {
		return "", fmt.Errorf("checking for an update: %w", err)
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("User-Agent", "CALMenu") // GitHub wants a name; no more is told
	answer, err := u.client.Do(r)
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("checking for an update: %w", err), advice)
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", hint.Errorf(advice, "checking for an update: the project has no release yet")
	default:
		return "", hint.Errorf(advice, "checking for an update: %s answered %s", r.URL.Host, answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxFeed+1))
	if err == nil && len(body) > maxFeed {
		err = errors.New("the answer is too long")
	}
	var release struct {
		Tag        string `json:"tag_name"`
		Draft      bool   `json:"draft"`
		Prerelease bool   `json:"prerelease"`
	}
	if err == nil {
		err = json.Unmarshal(body, &release)
	}
	if err == nil && (release.Draft || release.Prerelease || release.Tag == "" || release.Tag[0] != 'v') {
		err = errors.New("the answer names no release")
	}
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("checking for an update: %w", err), advice)
	}
	return release.Tag[1:], nil
}

var (
	numbered = lazyre.New(`^v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})(.*)$`)
	since    = lazyre.New(`^-[0-9]+-g[0-9a-f]+`) // commits after a tag, as git describe says
)

// isRelease says whether a version is one of a release, not of what was built before or after one.
func isRelease(version string) bool {
	m := numbered.FindStringSubmatch(version)
	return m != nil && m[4] == ""
}

// newer says whether a release is newer than the build with the given version. A build that says nothing comparable is
// older than every release.
func newer(release, build string) bool {
	r, b := numbered.FindStringSubmatch(release), numbered.FindStringSubmatch(build)
	if r == nil || b == nil {
		return r != nil
	}
	for i := 1; i <= 3; i++ {
		// The expression admits no number that is too large.
		x, _ := strconv.Atoi(r[i])
		y, _ := strconv.Atoi(b[i])
		if x != y {
			return x > y
		}
	}
	// The same numbers: a preview of the release, or what was built from it later.
	return b[4] != "" && b[4] != "-dirty" && !since.MatchString(b[4])
}

func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
