package app

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/nettest"
	outbox "github.com/calmenu/calmenu/internal/sync"
	"github.com/calmenu/calmenu/internal/sync/corpus"
	"github.com/calmenu/calmenu/internal/vm"
)

// outboxCanary is in a file of the guest's that lies outside of its outbox.
const outboxCanary = "what must not leave the guest"

// swapScript makes of a file a link to the canary and back, $1 times, whole at every instant; what it holds says so.
const swapScript = `
import os, sys
os.makedirs("race", exist_ok=True)
for i in range(int(sys.argv[1])):
    with open("race/new", "w") as f: f.write("harmless" * 4096)
    os.replace("race/new", "race/file")
    os.symlink("/home/%s/canary" % os.environ["USER"], "race/link")
    os.replace("race/link", "race/file")
    os.symlink("/home/%s" % os.environ["USER"], "race/dirlink")
    os.rename("race/dirlink", "race/dir")
    os.remove("race/dir")
    os.mkdir("race/dir")
    with open("race/dir/canary", "w") as f: f.write("harmless")
    os.remove("race/dir/canary")
    os.rmdir("race/dir")
`

// TestOutboxOfARealGuest goes through the hostile corpus in a real guest, by each way over SSH, swaps a path for a link
// while it is copied, and cuts the connection, turns the guest's clock, and kills the machine in the midst of a transfer.
func TestOutboxOfARealGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	in := insideReal(t, ctx)
	root := t.TempDir()
	options := func(dir, to string) outbox.Options {
		return outbox.Options{
			Workspace: "demo", GuestDir: dir, Dest: filepath.Join(root, to, "dest"), State: filepath.Join(root, to, "state"),
			Limits: outbox.Limits{MaxFile: corpus.MaxFile},
		}
	}
	const helper, port, tar = "helper", "port", "tar"
	open := func(c *guest.Client, o outbox.Options, way string) outbox.Transport {
		t.Helper()
		var tr outbox.Transport
		var err error
		switch way {
		case helper:
			tr, err = outbox.OverSSH(ctx, c, o)
		case tar:
			tr, err = outbox.OverTar(c, o)
		default:
			tr, err = outbox.OverPort(ctx, c, o, func(ctx context.Context) (net.Conn, error) {
				return in.a.Driver.(vm.SerialDialer).DialSerial(ctx, "demo", vm.OutboxPort)
			})
		}
		if err != nil {
			t.Fatalf("over %s: %v", way, err)
		}
		return tr
	}
	once := func(o outbox.Options, way string) outbox.Report {
		t.Helper()
		tr := open(in.c, o, way)
		defer tr.Close()
		r, err := outbox.Once(ctx, tr, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	shell := func(script string, args ...string) string {
		t.Helper()
		r, err := in.c.Output(ctx, guest.Cmd{
			Argv: append([]string{"sh", "-c", "cat >script && . ./script", "sh"}, args...), Stdin: strings.NewReader(script),
		})
		if err != nil || r.Exit != 0 {
			t.Fatalf("in the guest: %v, %d: %s", err, r.Exit, r.Stderr)
		}
		return string(r.Stdout)
	}
	shell("echo '" + outboxCanary + "' >canary; chmod 600 canary")

	missing := map[string]bool{}
	place := corpus.Place{Outbox: "corpus", Elsewhere: "elsewhere", Secret: "/home/agent/canary"}
	for line := range strings.Lines(shell(corpus.Script(corpus.Cases(), place))) {
		missing[strings.TrimSpace(line)] = true
	}
	if len(missing) > 5 {
		t.Fatalf("could not be made: %v", missing)
	}
	t.Logf("%d cases; could not be made: %v", len(corpus.Cases()), missing)
	for _, way := range []string{helper, port, tar} {
		t.Run(way, func(t *testing.T) {
			o := options("corpus", "corpus-"+way)
			r := once(o, way)
			for _, wrong := range corpus.Judge(corpus.Cases(), missing, namesOf(r), reasonsOf(r), outbox.Shown) {
				t.Error(wrong)
			}
			nothingOfTheGuests(t, o.Dest)
			if r := once(o, way); len(r.Landed) != 0 {
				t.Errorf("a second pass lands %v", namesOf(r))
			}
		})
	}

	t.Run("swapped", func(t *testing.T) {
		n := nettest.Count("CAL_TEST_OUTBOX_SWAPS", 300)
		shell("mkdir -p swapped\ncat >swap.py <<'END'\n" + swapScript + "\nEND\n")
		// All of what goes on beside lets go of the output, or the shell would be waited for until it is over.
		shell("cd swapped\n{ USER=$(id -un) python3 ../swap.py $1 && touch ../swap-done; } </dev/null >/dev/null 2>&1 &",
			strconv.Itoa(n))
		o := options("swapped", "swapped")
		ways := []outbox.Transport{open(in.c, o, helper), open(in.c, o, port)}
		defer func() { _, _ = ways[0].Close(), ways[1].Close() }()
		passes := 0
		for done := false; !done; passes++ {
			done = strings.Contains(shell("ls"), "swap-done")
			if _, err := outbox.Once(ctx, ways[passes%2], o, nil); err != nil {
				t.Fatal(err)
			}
			nothingOfTheGuests(t, o.Dest)
		}
		if passes < 2 {
			t.Error("no pass met a swap")
		}
		t.Logf("%d swaps, %d passes", n, passes)
	})

	shell(`mkdir -p many && cd many && head -c 8000000 /dev/urandom | split -b 4000 -a 3 - f`)
	t.Run("cut", func(t *testing.T) {
		o := options("many", "cut")
		for i, way := range []string{helper, port, port} {
			connection, err := in.a.Connect(ctx, in.w)
			if err != nil {
				t.Fatal(err)
			}
			tr := open(connection, o, way)
			_, err = outbox.Once(ctx, tr, o, func(p outbox.Progress) {
				if p.Files > 300*(i+1)/2 {
					_ = connection.Close()
				}
			})
			t.Logf("cut: %v", err)
			_, _ = tr.Close(), connection.Close()
			// What the guest's clock says is of no interest.
			if err := in.c.SetClock(ctx, time.Now().Add(time.Duration(1-i)*48*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if err := in.c.SetClock(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		before, err := outbox.ReadManifest(o.State)
		if err != nil {
			t.Fatal(err)
		}
		r := once(o, port)
		if len(r.Landed)+len(before) != 2000 {
			t.Errorf("%d have landed, then %d: want 2000 and nothing twice", len(before), len(r.Landed))
		}
		if bad, err := outbox.Verify(o); err != nil || len(bad) != 0 {
			t.Error(bad, err)
		}
	})

	t.Run("powered off", func(t *testing.T) {
		shell("sync") // what a guest has not written to its disk is its own loss
		for i := range nettest.Count("CAL_TEST_OUTBOX_POWER_CUTS", 1) {
			o := options("many", fmt.Sprint("off", i))
			at := rand.IntN(1500)
			m, err := in.a.Driver.Machine(ctx, "demo")
			if err != nil || m.PID == 0 {
				t.Fatal(m, err)
			}
			slow := o
			slow.RateLimit = 4e6 // two seconds: what progress tells is a tenth of one old
			tr := open(in.c, slow, port)
			_, err = outbox.Once(ctx, tr, slow, func(p outbox.Progress) {
				if p.Files >= at && !p.Over {
					_ = syscall.Kill(m.PID, syscall.SIGKILL)
				}
			})
			_ = tr.Close()
			if err == nil {
				t.Fatal("all has come before the machine was killed")
			}
			for m.Running && ctx.Err() == nil {
				if m, err = in.a.Driver.Machine(ctx, "demo"); err != nil {
					t.Fatal(err)
				}
			}
			if bad, err := outbox.Verify(o); err != nil || len(bad) != 0 {
				t.Errorf("when the machine was killed: %v, %v", bad, err)
			}
			before, err := outbox.ReadManifest(o.State)
			if err != nil {
				t.Fatal(err)
			}
			if err := in.a.Start(ctx, "demo", nil); err != nil {
				t.Fatal(err)
			}
			in.connect(ctx)
			r := once(o, helper)
			t.Logf("killed after %d files: %d have landed, then %d", at, len(before), len(r.Landed))
			if len(r.Landed)+len(before) != 2000 || r.Unchanged != len(before) {
				t.Errorf("%d have landed, then %d, and %d of those were known: want 2000 and nothing twice",
					len(before), len(r.Landed), r.Unchanged)
			}
			if bad, err := outbox.Verify(o); err != nil || len(bad) != 0 {
				t.Error(bad, err)
			}
		}
	})
}

func namesOf(r outbox.Report) (names []string) {
	for _, a := range r.Landed {
		names = append(names, a.Name)
	}
	return names
}

func reasonsOf(r outbox.Report) map[string]string {
	reasons := map[string]string{}
	for _, x := range r.Refused {
		reasons[x.Name] = x.Reason
	}
	return reasons
}

// nothingOfTheGuests looks for the canary, and for what is neither file, directory nor link in a bundle.
func nothingOfTheGuests(t *testing.T, dest string) {
	t.Helper()
	err := filepath.WalkDir(dest, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Type() == fs.ModeSymlink:
			to, err := filepath.EvalSymlinks(p)
			if err != nil || !strings.HasPrefix(to, dest+string(filepath.Separator)) {
				t.Errorf("%s leads to %s, %v", p, to, err)
			}
		case d.Type().IsRegular():
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if strings.Contains(string(content), outboxCanary) {
				t.Errorf("%s holds what lies outside of the outbox", p)
			}
		case !d.IsDir():
			t.Errorf("%s is %v", p, d.Type())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
