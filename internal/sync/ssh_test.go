package sync

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// TestOverAConnection brings an outbox in over SSH, as from a machine.
func TestOverAConnection(t *testing.T) {
	t.Parallel()
	b := newOutbox(t)
	signer := func() ssh.Signer {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		b.must(err)
		s, err := ssh.NewSignerFromKey(key)
		b.must(err)
		return s
	}
	host, user := signer(), signer()
	c, err := guest.Connect(t.Context(), guest.Options{
		Dial: vmtest.StartSSHGuest(t, b.guest.home, host, user.PublicKey()),
		User: "agent", Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKey: host.PublicKey(),
	})
	b.must(err)
	t.Cleanup(func() { _ = c.Close() })

	for i := range 300 {
		b.put(fmt.Sprintf("d%d/it's \"%d\"", i%7, i), fmt.Sprint(i))
	}
	b.must(os.WriteFile(filepath.Join(b.dir, "large"), make([]byte, 20<<20), 0o644))
	b.must(os.Symlink("/", filepath.Join(b.dir, "link")))
	r, err := Once(t.Context(), overTar(t, c, b.o), b.o, nil)
	b.must(err)
	if len(r.Landed) != 301 || len(r.Refused) != 1 {
		t.Errorf("%d landed, refused %v", len(r.Landed), r.Refused)
	}
	if bad, err := Verify(b.o); err != nil || len(bad) != 0 {
		t.Error(bad, err)
	}

	need(t, "inotifywait")
	reports, ended := make(chan Report, 10), make(chan error, 1)
	b.put("before", "before")
	go func() {
		ended <- Watch(t.Context(), overTar(t, c, b.o), b.o, func(r Report) { reports <- r }, nil)
	}()
	for _, want := range []string{"before", "after"} {
		select {
		case r := <-reports:
			if len(r.Landed) != 1 || r.Landed[0].Name != want {
				t.Fatalf("%+v, want %s", r, want)
			}
		case err := <-ended:
			t.Fatal(err)
		}
		b.put("after", "after")
	}
	// The connection dies: so does the watch.
	b.must(c.Close())
	b.put("more", "more")
	if err := <-ended; err == nil || t.Context().Err() != nil {
		t.Errorf("the watch ended with %v", err)
	}
}
