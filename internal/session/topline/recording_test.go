package topline

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A recording is what a program printed on a terminal of a known size: a first line "ROWS COLS", then the bytes. To make
// one, name it, the keys to type (Go escapes; each is typed when the program has gone quiet), and the command:
//
//	go test ./internal/session/topline -run TestRecord -record less -record.keys '  G g q' -args less /etc/services
//
// A recording of a program in a guest is made the same way: give its ssh command.
var (
	recordName = flag.String("record", "", "make the recording testdata/recordings/`NAME`.raw of the command in -args")
	recordKeys = flag.String("record.keys", "", "keys to type, apart by spaces, as in Go strings (a space is \\x20)")
	recordRows = flag.Int("record.rows", 24, "rows of the recording's terminal")
	recordCols = flag.Int("record.cols", 80, "columns of the recording's terminal")
	recordWait = flag.Duration("record.wait", 700*time.Millisecond, "how long is quiet")
)

// maxRecording is the size of a recording at most, in bytes.
const maxRecording = 200 << 10

func TestRecord(t *testing.T) {
	if *recordName == "" || flag.NArg() == 0 {
		t.Skip("set -record: this makes a recording")
	}
	cmd := exec.Command(flag.Arg(0), flag.Args()[1:]...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LANG=C.UTF-8", "LC_ALL=C.UTF-8")
	// The size is the one the program has under the banner.
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: uint16(*recordRows), Cols: uint16(*recordCols)})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	chunks := make(chan []byte)
	go func() {
		defer close(chunks)
		for {
			buf := make([]byte, 4096)
			n, err := tty.Read(buf)
			if n > 0 {
				chunks <- buf[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	var got bytes.Buffer
	fmt.Fprintf(&got, "%d %d\n", *recordRows, *recordCols)
	keys := bytes.Fields([]byte(*recordKeys))
	for got.Len() < maxRecording {
		select {
		case b, ok := <-chunks:
			if !ok {
				goto done
			}
			got.Write(b)
		case <-time.After(*recordWait):
			if len(keys) == 0 {
				goto done
			}
			key, err := strconv.Unquote(`"` + string(keys[0]) + `"`)
			if err != nil {
				t.Fatalf("read the key %q: %v", keys[0], err)
			}
			keys = keys[1:]
			if _, err := tty.WriteString(key); err != nil {
				t.Fatal(err)
			}
		}
	}
done:
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := os.MkdirAll("testdata/recordings", 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("testdata", "recordings", *recordName+".raw")
	if err := os.WriteFile(name, got.Bytes()[:min(got.Len(), maxRecording)], 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", name, got.Len())
}

// TestRecordings checks real programs' output: at several points of each recording, the real terminal must show the
// banner above what the program's own shows, and splits must not matter.
func TestRecordings(t *testing.T) {
	files, err := filepath.Glob("testdata/recordings/*.raw")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, stream, _ := bytes.Cut(data, []byte("\n"))
			var rows, cols int
			if _, err := fmt.Sscan(string(head), &rows, &cols); err != nil {
				t.Fatalf("read the first line: %v", err)
			}
			for _, sizes := range [][]int{{1}, {7}, {13, 1, 200, 3}, {4096}} {
				if !bytes.Equal(filtered(rows+1, cols, stream), filtered(rows+1, cols, stream, sizes...)) {
					t.Errorf("split as %v, the output differs", sizes)
				}
			}
			const points = 12
			child, real := newOracle(t, rows, cols), newOracle(t, rows+1, cols)
			f := New(Options{Rows: rows + 1, Cols: cols, Banner: true})
			f.SetBanner(testBanner)
			real.Write(f.Start())
			done := 0
			for i := range points {
				from, to := done, len(stream)*(i+1)/points
				if to <= from {
					continue
				}
				out := f.Output(nil, stream[from:to])
				for ; to < len(stream) && (f.scan.state != stGround || len(f.scan.carry) > 0); to++ {
					out = f.Output(out, stream[to:to+1]) // up to the end of a sequence, for the emulators
				}
				child.Write(stream[from:to])
				real.Write(out)
				done = to
				if d := differ(real, child); d != "" {
					t.Fatalf("after %d of %d bytes (%q), %d guesses:\n%s", to, len(stream), stream[max(0, to-80):to], f.guesses, d)
				}
			}
			if d := differ(real, child); d != "" {
				t.Errorf("at the end:\n%s", d)
			}
		})
	}
}
