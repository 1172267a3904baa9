package provision_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/calmenu/calmenu/internal/guest"
	"github.com/calmenu/calmenu/internal/guest/provision"
)

// broken is a guest that answers as it likes.
type broken struct {
	out string
	err error
}

func (b broken) Output(context.Context, guest.Cmd) (guest.Result, error) {
	return guest.Result{Stdout: []byte(b.out), Stderr: []byte("sh: out of memory\n")}, b.err
}

func TestAGuestThatDoesNotAnswerIsAnError(t *testing.T) {
	t.Parallel()
	for _, b := range []broken{
		{},
		{out: "hello\n"},
		{out: "@cal\tcheck\tb\t0\t\n"},
		{out: "@cal\tcheck\ta\t-1\tx\n"},
		{out: "@cal\tcheck\ta\tx\tx\n"},
		{err: guest.ErrLost},
		{err: guest.ErrLimit},
	} {
		_, err := (&provision.Runner{Shell: b, Steps: steps("a true|true")}).Run(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), "checking the guest's setup") {
			t.Errorf("%+v: %v", b, err)
		}
	}
	odd := provision.Runner{Shell: broken{}, Steps: steps("a true|true"), Vars: map[string]string{"A;b": ""}}
	_, err := odd.Run(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "cannot name a variable") {
		t.Errorf("a variable that is none: %v", err)
	}
}

func TestAnInputThatCannotBeMadeIsAnError(t *testing.T) {
	t.Parallel()
	_, shell := sandbox(t)
	list := steps("a false|touch never")
	list[0].Input = provision.Password
	locked := errors.New("the keychain is locked")
	for _, input := range []func(provision.Input) ([]byte, error){
		nil, func(provision.Input) ([]byte, error) { return nil, locked },
	} {
		_, err := (&provision.Runner{Shell: shell, Steps: list, Input: input}).Run(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), "making a") || input != nil && !errors.Is(err, locked) {
			t.Errorf("error %v", err)
		}
	}
}

func TestNothingIsDoneBeforeItMayBe(t *testing.T) {
	t.Parallel()
	home, shell := sandbox(t)
	late := errors.New("the time could not be told")
	r := &provision.Runner{Shell: shell, Steps: steps("a [ -e done ]|touch done")}
	r.Before = func() error {
		if _, err := os.Stat(filepath.Join(home, "done")); err == nil || len(shell.scripts) != 1 {
			t.Errorf("%d scripts have run, the last of which did something: %v", len(shell.scripts), err == nil)
		}
		return late
	}
	if _, err := r.Run(t.Context(), nil); !errors.Is(err, late) || len(shell.scripts) != 1 {
		t.Errorf("%v, after %d scripts", err, len(shell.scripts))
	}
	r.Before = func() error { return nil }
	if results, err := r.Run(t.Context(), nil); err != nil || results[0].Outcome != provision.Done {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestKCPassword(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]string{
		"":      "7d895223d2bcddeaa3b91f7d",
		"admin": "1ced3f4abcbcddeaa3b91f7d",
		// A password of twelve letters has its end in a second dozen.
		"abcdefghijkl": "1ceb3147b7daba82cad37411895223d2bcddeaa3b91f7d89",
	} {
		if got := fmt.Sprintf("%x", provision.KCPassword(password)); got != want {
			t.Errorf("KCPassword(%q) = %s, want %s", password, got, want)
		}
	}
	if a, b := provision.NewPassword(), provision.NewPassword(); a == b || len(a) < 26 {
		t.Errorf("passwords %q and %q", a, b)
	}
}
