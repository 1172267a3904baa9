package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestNotices(t *testing.T) {
	got, err := notices([]string{"howett.net/plist", "github.com/spf13/cobra", "howett.net/plist"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n======== Go 1.", "The Go Authors", "\n======== howett.net/plist v", "\n======== github.com/spf13/cobra v"} {
		if strings.Count(string(got), want) < 1 {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(string(got), "======== howett.net/plist"); n != 1 {
		t.Errorf("plist is named %d times", n)
	}
	if err := addLicenses(&bytes.Buffer{}, "a work", t.TempDir()); err == nil {
		t.Error("a work without a licence was let through")
	}
	if _, err := notices([]string{"example.com/none"}); err == nil {
		t.Error("a module that is not there was let through")
	}
}
