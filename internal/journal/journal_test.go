package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T) *Journal {
	t.Helper()
	j, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func events(t *testing.T, j *Journal) []Event {
	t.Helper()
	es, err := j.Events()
	if err != nil {
		t.Fatal(err)
	}
	return es
}

func TestAnOperationIsBeginPhasesEnd(t *testing.T) {
	j := open(t)
	op := j.Begin("demo", "start")
	op.Phase("booting", 1, 10)
	op.Phase("booting", 2, 10) // within the interval: thinned out
	op.Phase("waiting for SSH", 0, 0)
	want := errors.New("no room")
	if err := op.End(want, "Free some space."); !errors.Is(err, want) {
		t.Fatalf("End returned %v", err)
	}
	var kinds []Kind
	es := events(t, j)
	for _, e := range es {
		kinds = append(kinds, e.Kind)
		if e.Op != es[0].Op || e.Verb != "start" || e.Workspace != "demo" || !e.Process.Alive() {
			t.Errorf("event %+v does not belong to the operation", e)
		}
	}
	if got := fmt.Sprint(kinds); got != "[op.begin op.phase op.phase op.end]" {
		t.Errorf("kinds %s", got)
	}
	if last := es[len(es)-1]; last.Error != "no room" || last.Hint != "Free some space." {
		t.Errorf("end %+v", last)
	}
}

func TestTornForeignAndNewerLinesAreSkipped(t *testing.T) {
	j := open(t)
	if err := j.Append(Event{Kind: Notice, Detail: "one"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(j.Dir(), fileName), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("{\"v\":99,\"kind\":\"future\"}\nnot json\n{\"v\":1,\"kind\":\"noti"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(Event{Kind: Notice, Detail: "two"}); err != nil {
		t.Fatal(err)
	}
	es := events(t, j)
	if len(es) != 2 || es[0].Detail != "one" || es[1].Detail != "two" {
		t.Errorf("read %+v", es)
	}
}

func TestManyWritersLoseNothingOverARotation(t *testing.T) {
	j := open(t)
	pad := make([]byte, 500)
	for i := range pad {
		pad[i] = 'x'
	}
	const writers, each = 8, 200 // about 1 MB: more than one rotation
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := j.Append(Event{Kind: Notice, Detail: fmt.Sprintf("%d-%d %s", w, i, pad)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	files := append(j.oldFiles(), filepath.Join(j.Dir(), fileName))
	if len(files) < 2 {
		t.Fatal("the journal was not rotated")
	}
	n := 0
	for _, f := range files {
		es, err := readFile(f)
		if err != nil {
			t.Fatal(err)
		}
		n += len(es)
	}
	if n != writers*each {
		t.Errorf("%d events survive of %d", n, writers*each)
	}
}

func TestADeadProcessIsRecognised(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	start, ok := startTime(cmd.Process.Pid)
	p := Process{PID: cmd.Process.Pid, Start: start}
	if !ok || !p.Alive() {
		t.Error("a living process is taken for dead")
	}
	_ = in.Close()
	_ = cmd.Wait()
	if p.Alive() {
		t.Error("a dead process is taken for living")
	}
	if (Process{PID: os.Getpid(), Start: 1}).Alive() {
		t.Error("a recycled process number is taken for the process that had it")
	}
}

func TestWatchReportsAppends(t *testing.T) {
	j := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	calls := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() { done <- j.Watch(ctx, func() { calls <- struct{}{} }) }()
	for i := range 3 {
		select {
		case <-calls:
		case <-ctx.Done():
			t.Fatalf("no call %d", i)
		}
		if err := j.Append(Event{Kind: Notice}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"v":1,"kind":"op.begin","workspace":"demo"}` + "\n"))
	f.Add([]byte("\n\n{\"v\":2}\n{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range Parse(b) {
			if e.V != SchemaVersion || e.Kind == "" {
				t.Errorf("accepted %+v", e)
			}
		}
	})
}
