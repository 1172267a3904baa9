package desktop

import (
	"context"
	"errors"
	"testing"
)

func TestRecorder(t *testing.T) {
	var r Recorder
	r.Script(Answer{Text: "x"})
	done := make(chan error)
	go func() {
		calls, err := r.Wait(t.Context(), func(c Calls) bool { return len(c.Opened) == 1 })
		if err == nil && calls.Opened[0] != "/a" {
			err = errors.New("opened " + calls.Opened[0])
		}
		done <- err
	}()
	if a, err := r.Ask(t.Context(), Question{Kind: Entry}); err != nil || a.Text != "x" {
		t.Errorf("Ask = %+v, %v", a, err)
	}
	if a, err := r.Ask(t.Context(), Question{}); err != nil || !a.Cancelled {
		t.Errorf("Ask beyond the script = %+v, %v", a, err)
	}
	if err := r.Open(t.Context(), "/a"); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.Fail = func(method string) error {
		if method == "Notify" {
			return errors.New("no daemon")
		}
		return nil
	}
	if err := r.Notify(t.Context(), Notification{}); err == nil {
		t.Error("Notify did not fail")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.CopyText(ended, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("CopyText with an ended context = %v", err)
	}
	if c := r.Calls(); len(c.Notifications) != 0 || len(c.Questions) != 2 || len(c.Copied) != 0 {
		t.Errorf("calls %+v", c)
	}
}
