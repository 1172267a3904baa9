package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/isolation"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/sync/corpus"
	"github.com/calmenu/calmenu/internal/vm"
)

// hostileShare is what a guest, root in itself, does to the folder it shares with its host. $secret is a file of the host.
const hostileShare = `cd "$HOME/output"
mount | grep -q " on $HOME/output type virtiofs " || { echo "no share"; exit 1; }
echo plain >plain; printf '#!/bin/sh\n' >run.sh; chmod 755 run.sh
mkdir -p Demo.app/Contents dir; echo x >Demo.app/Contents/x
ln -s "$secret" secret; ln -s / root; ln -s plain within; ln -s "$(dirname "$secret")" Link.app
mkfifo fifo
sudo cp /bin/true setuid; sudo chown 0:0 setuid; sudo chmod 6777 setuid
! sudo mknod device c 1 5 2>/dev/null || echo "a device was made"
! sudo mknod disk b 8 0 2>/dev/null || echo "a disk was made"
echo x >"$(printf 'new\nline')"; echo x >"$(printf 'esc\033[31m')"; echo x >"$(printf 'bad\377')"
echo x >README; echo x >readme
truncate -s 1T endless; truncate -s 64M sparse
mkdir -p "$(printf 'u/%.0s' $(seq 40))"; echo x >"$(printf 'u/%.0s' $(seq 40))bottom"
mkdir .versions .cal-staging; echo x >.versions/x; echo x >.cal-staging/x
(exec 3>open; echo half >&3; exec sleep 1000) >/dev/null 2>&1 </dev/null &
until [ -s open ]; do sleep 0.1; done
printf done`

// hostileRace swaps a file, and the directory it lies in, for links to a file of the host, so often.
const hostileRace = `cd "$HOME/output"; echo harmless >race; mkdir swap; echo harmless >swap/secret
exec perl -e 'my ($n, $secret) = @ARGV; my $vault = $secret =~ s{/[^/]*$}{}r;
for (my $i = 0; $i < $n; $i += 2) {
	rename "race", "away"; symlink $secret, "race"; unlink "race"; rename "away", "race";
	rename "swap", "gone"; symlink $vault, "swap"; unlink "swap"; rename "gone", "swap";
}
print "swapped"' "$n" "$secret"`

// TestSharedOutboxOfARealGuest has a guest write into a folder of the host, in good and in bad faith.
func TestSharedOutboxOfARealGuest(t *testing.T) {
	t.Setenv("CAL_OUTBOX_TRANSPORT", "share")
	t.Setenv("CAL_OUTBOX_MAX_FILE", "100MB")
	ctx := t.Context()
	g := insideReal(t, ctx)
	if !g.a.Driver.Info().Capabilities.Share {
		t.Skip("virtiofsd does not run here: see CALMenu doctor")
	}
	vault := t.TempDir()
	secret := filepath.Join(vault, "secret")
	if err := os.WriteFile(secret, []byte("the host's secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := g.run(ctx, "secret="+secret+"\n"+hostileShare); out != "done" {
		t.Errorf("the guest says %q", out)
	}
	r, _, err := g.a.Sync(ctx, "demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	g.verdicts(r)
	g.corpusOverShare(ctx)
	g.raceOverShare(ctx, secret)
	g.shareIsKnown(ctx)
}

// verdicts looks at what landed of hostileShare and what did not.
func (g *inside) verdicts(r outbox.Report) {
	landed := map[string]bool{}
	for _, a := range r.Landed {
		if landed[a.Name] = true; a.Origin != "share" {
			g.t.Errorf("%s came by %s", a.Name, a.Origin)
		}
		info, err := os.Lstat(a.Path)
		if err != nil || info.Mode()&(os.ModeSymlink|os.ModeSetuid|os.ModeSetgid|0o133) != 0 && !a.Bundle {
			g.t.Errorf("%s is %v, %v", a.Path, info.Mode(), err)
		}
	}
	want := map[string]bool{
		"plain": true, "run.sh": true, "Demo.app": true, "setuid": true, "README": true, "sparse": true,
	}
	if r.Waiting != 1 { // for what is still open in the guest
		g.t.Errorf("%d wait", r.Waiting)
	}
	if d := cmp.Diff(want, landed); d != "" {
		g.t.Errorf("landed (-want +got):\n%s", d)
	}
	reasons := map[string]string{}
	for _, x := range r.Refused {
		reasons[x.Name], _, _ = strings.Cut(x.Reason, ":")
	}
	for name, want := range map[string]string{
		"secret": "is a symbolic link", "root": "is a symbolic link", "Link.app": "is a symbolic link", "fifo": "is a FIFO",
		`new\nline`: "name has the control character U+000A", `esc\x1b[31m`: "name has the control character U+001B",
		`bad\xff`: "name is not valid UTF-8", "readme": "differs from README only by case or by how it is encoded",
		"endless": "is larger than 100 MB", ".versions": "name is reserved for CALMenu", ".cal-staging": "name is reserved for CALMenu",
	} {
		if !strings.HasPrefix(reasons[name], want) {
			g.t.Errorf("%s: %q, want %q", name, reasons[name], want)
		}
	}
}

// corpusOverShare goes through the hostile corpus, which the guest makes anew in the folder.
func (g *inside) corpusOverShare(ctx context.Context) {
	g.run(ctx, `pkill sleep; sudo find output -mindepth 1 -delete; echo "a secret" >canary`)
	place := corpus.Place{Outbox: "output", Elsewhere: "elsewhere", Secret: "/home/admin/canary"}
	made, err := g.c.Output(ctx, guest.Cmd{
		Argv: []string{"sh", "-c", "cat >script && . ./script"}, Stdin: strings.NewReader(corpus.Script(corpus.Cases(), place)),
		Limit: 1 << 20,
	})
	if err != nil || made.Exit != 0 {
		g.t.Fatalf("in the guest: %v, %d: %s", err, made.Exit, made.Stderr)
	}
	// A share takes no devices, and nothing outside of it can be linked into it.
	missing := map[string]bool{"bundle with a device": true, "bundle with a hard link elsewhere": true}
	for line := range strings.Lines(string(made.Stdout)) {
		missing[strings.TrimSpace(line)] = true
	}
	root := g.t.TempDir()
	o := outbox.Options{
		Workspace: "demo", Dest: filepath.Join(root, "dest"), State: filepath.Join(root, "state"),
		Limits: outbox.Limits{MaxFile: corpus.MaxFile},
	}
	tr, err := outbox.OverShare(g.a.stagingDir(g.w), o)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = tr.Close() }()
	r, err := outbox.Once(ctx, tr, o, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, wrong := range corpus.Judge(corpus.Cases(), missing, namesOf(r), reasonsOf(r), outbox.Shown) {
		g.t.Error(wrong)
	}
	nothingOfTheGuests(g.t, o.Dest)
	g.t.Logf("%d cases; could not be made: %v", len(corpus.Cases()), missing)
	g.run(ctx, "sudo find output -mindepth 1 -delete")
}

// raceOverShare makes passes while the guest swaps what they look at.
func (g *inside) raceOverShare(ctx context.Context, secret string) {
	n := 200
	if given, err := strconv.Atoi(os.Getenv("CAL_TEST_OUTBOX_SWAPS")); err == nil {
		n = given
	}
	swapped := make(chan error, 1)
	go func() {
		script := fmt.Sprintf("n=%d secret=%s\n%s", n, secret, hostileRace)
		r, err := g.c.Output(ctx, guest.Cmd{Argv: []string{"sh", "-c", script}})
		if err == nil && string(r.Stdout) != "swapped" {
			err = fmt.Errorf("exit %d: %s", r.Exit, r.Stderr)
		}
		swapped <- err
	}()
	passes := 0
	for done := false; !done; passes++ {
		if _, _, err := g.a.Sync(ctx, "demo", nil); err != nil {
			g.t.Fatal(err)
		}
		select {
		case err := <-swapped:
			if done = true; err != nil {
				g.t.Errorf("swapping in the guest: %v", err)
			}
		default:
		}
	}
	g.t.Logf("%d swaps in the guest, %d passes", n, passes)
	err := filepath.WalkDir(g.a.OutputDir(g.w), func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(p)
		if bytes.Contains(text, []byte("the host's secret")) {
			g.t.Errorf("%s holds the secret", p)
		}
		return err
	})
	if err != nil {
		g.t.Error(err)
	}
}

// shareIsKnown looks that the share is counted where it counts, and that what serves it ends with the machine.
func (g *inside) shareIsKnown(ctx context.Context) {
	report, err := g.a.CheckIsolation(ctx, "demo")
	if err != nil || report.Level != isolation.Weakened || !strings.Contains(report.Reason, "shared outbox") {
		g.t.Errorf("isolation: %s: %s, %v", report.Level, report.Reason, err)
	}
	m, err := g.a.Driver.Machine(ctx, "demo")
	if err != nil || m.Warm.OK || m.Warm.Reason != "a folder is shared into it" {
		g.t.Errorf("%+v, %v", m.Warm, err)
	}
	if err := g.a.Driver.Stop(ctx, "demo", vm.Shutdown{}); err != nil {
		g.t.Error(err)
	}
	source := "source=" + g.a.stagingDir(g.w)
	for left := true; left && ctx.Err() == nil; {
		left = false
		all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, p := range all {
			if text, err := os.ReadFile(p); err == nil && bytes.Contains(text, []byte(source+"\x00")) {
				left = true
				time.Sleep(20 * time.Millisecond)
			}
		}
	}
}
