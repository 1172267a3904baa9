package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/pkg/sftp"
)

// SFTP opens a file transfer session. The caller closes it.
func (c *Client) SFTP() (*sftp.Client, error) {
	return await(context.Background(), c, "open file transfer", func() (*sftp.Client, error) {
		return sftp.NewClient(c.ssh)
	}, func(s *sftp.Client) { _ = s.Close() })
}

// writeScript receives a file: $1 path, $2 mode, $3 size. The size tells a whole input from one cut off by a lost
// connection, which the guest sees as an ordinary end.
const writeScript = `set -eu
if [ -d "$1" ]; then echo "is a directory" >&2; exit 1; fi
umask 077
t=$(mktemp "$1.XXXXXXXX")
trap 'rm -f "$t"' EXIT
cat >"$t"
if [ "$(wc -c <"$t")" -ne "$3" ]; then echo "input was cut off" >&2; exit 1; fi
chmod "$2" "$t"
mv -f "$t" "$1"
trap - EXIT`

// WriteFile replaces a file of the guest's user whole: the path holds the old content or the new, never a part. A
// relative path is relative to the user's home; the directory must exist. The mode's permission bits apply, whatever
// the umask.
func (c *Client) WriteFile(ctx context.Context, path string, mode os.FileMode, data []byte) error {
	if path == "" || strings.HasSuffix(path, "/") {
		return fmt.Errorf("write %q in guest: not a file's name", path)
	}
	target := path
	if target[0] != '/' {
		target = "./" + target
	}
	r, err := c.Output(ctx, Cmd{
		Argv: []string{
			"/bin/sh", "-c", writeScript, "sh",
			target, fmt.Sprintf("%04o", mode.Perm()), strconv.Itoa(len(data)),
		},
		Stdin: bytes.NewReader(data),
		Limit: 64 << 10,
	})
	if err == nil && r.Exit != 0 {
		err = guestSaid(r)
	}
	if err != nil {
		return &fs.PathError{Op: "write in guest", Path: path, Err: err}
	}
	return nil
}

// guestSaid is a failed command's own words as an error, cut to a line fit for a person.
func guestSaid(r Result) error {
	text := r.Stderr
	if len(bytes.TrimSpace(text)) == 0 {
		text = r.Stdout
	}
	line := strings.TrimSpace(string(text))
	if i := strings.LastIndexByte(line, '\n'); i >= 0 {
		line = line[i+1:]
	}
	line = printable(line, 200)
	if line == "" {
		return fmt.Errorf("exit status %d", r.Exit)
	}
	return errors.New(line + " (exit status " + strconv.Itoa(r.Exit) + ")")
}

// printable keeps what a terminal may be shown of a guest's text: control characters could do anything to it.
func printable(s string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if runes := []rune(clean); len(runes) > limit {
		return string(runes[:limit]) + "..."
	}
	return clean
}
