package sync

import (
	"bytes"
	"context"
	"strconv"

	"github.com/calmenu/calmenu/internal/guest"
)

// watchArgv is the program that tells of changes. It prints kinds of events and no names: what has changed is found by
// looking.
func watchArgv(o Options) []string {
	return []string{
		"env", "LC_ALL=C", "inotifywait", "--monitor", "--recursive", "--format", "%e",
		"--timeout", strconv.Itoa(int(watchFor.Seconds())),
		"-e", "close_write", "-e", "moved_to", "-e", "create", "-e", "attrib", "-e", "delete_self", "-e", "move_self",
		"--", findRoot(o.GuestDir),
	}
}

// Watch tells that something has changed, never what: any word of the watching program is a reason to look. That the
// program ended, or is not there, is no error: the next listing tells whether the connection lives.
func (t *tarTransport) Watch(ctx context.Context, news func(Change)) error {
	var last, lastSaid []byte
	events := writerFunc(func(b []byte) (int, error) {
		news(Change{Look: true, Dirs: seen(&last, b, "ISDIR")})
		return len(b), nil
	})
	// What the program says for people; changes made before its watch stands are seen by looking then.
	said := writerFunc(func(b []byte) (int, error) {
		if seen(&lastSaid, b, "Watches established") {
			news(Change{Look: true})
		}
		return len(b), nil
	})
	_, _ = t.r.Stream(ctx, guest.Cmd{Argv: watchArgv(t.o)}, events, said)
	return ctx.Err()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// seen tells whether a word is in a stream's next piece, or across its border with the one before. last keeps the end
// of that.
func seen(last *[]byte, b []byte, word string) bool {
	border := append(*last, b[:min(len(b), len(word)-1)]...)
	found := bytes.Contains(border, []byte(word)) || bytes.Contains(b, []byte(word))
	tail := append(*last, b[max(0, len(b)-len(word)+1):]...)
	*last = bytes.Clone(tail[max(0, len(tail)-len(word)+1):])
	return found
}
