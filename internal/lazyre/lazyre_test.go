package lazyre

import (
	"sync"
	"testing"
)

func TestNew(t *testing.T) {
	r := New(`^([a-z]+)-\d{1,300}$`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if m := r.FindStringSubmatch("box-12"); len(m) != 2 || m[1] != "box" {
				t.Errorf("found %q", m)
			}
		})
	}
	all.Wait()
	if r.MatchString("box-") || !r.Match([]byte("a-1")) || r.String() != `^([a-z]+)-\d{1,300}$` {
		t.Error("matches otherwise than it says")
	}
}

func TestMalformed(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a test does not see that an expression is malformed before it is used")
		}
	}()
	New(`(`)
}
