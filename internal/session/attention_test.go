package session

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

// A scene is what happens around an agent, one step after the other; the calls it leads to are the outcome.
func TestWaitingAgent(t *testing.T) {
	const work = 1000 // bytes: more than an echo
	type step func(*attention)
	out := func(n int) step { return func(a *attention) { a.output(n) } }
	wait := func(d time.Duration) step {
		return func(*attention) { time.Sleep(d); synctest.Wait() } // of the test's own clock
	}
	focus := func(in bool) step { return func(a *attention) { a.focus(in) } }
	key := func(a *attention) { a.key() }
	bell := func(a *attention) { a.said("") }
	say := func(s string) step { return func(a *attention) { a.said(s) } }
	for name, c := range map[string]struct {
		steps []step
		want  []string
	}{
		"silence after work, window away":      {[]step{focus(false), out(work), wait(21 * time.Second)}, []string{"waiting@20"}},
		"silence, then the window leaves":      {[]step{out(work), focus(false), wait(30 * time.Second)}, []string{"waiting@20"}},
		"silence in front":                     {[]step{focus(true), out(work), wait(time.Minute)}, nil},
		"silence where focus is never told":    {[]step{out(work), wait(time.Minute)}, nil},
		"an echo is no work":                   {[]step{focus(false), key, out(20), wait(time.Minute)}, nil},
		"work that goes on":                    {[]step{focus(false), out(work), wait(15 * time.Second), out(1), wait(15 * time.Second)}, nil},
		"work that ends later":                 {[]step{focus(false), out(work), wait(15 * time.Second), out(1), wait(21 * time.Second)}, []string{"waiting@35"}},
		"bell where focus is never told":       {[]step{bell}, []string{"waiting@0"}},
		"bell in front":                        {[]step{focus(true), bell, wait(time.Minute)}, nil},
		"bell as the answer to a key":          {[]step{key, bell, wait(time.Minute)}, nil},
		"bell long after a key":                {[]step{key, wait(5 * time.Second), bell}, []string{"waiting@5"}},
		"words, once":                          {[]step{focus(false), say("done\x1b"), say("more"), wait(time.Minute)}, []string{"waiting@0 done"}},
		"the person types":                     {[]step{focus(false), bell, wait(time.Second), key, wait(time.Minute)}, []string{"waiting@0", "active@1"}},
		"the person looks":                     {[]step{focus(false), bell, wait(2 * time.Second), focus(true)}, []string{"waiting@0", "active@2"}},
		"again, but not before half a minute":  {[]step{focus(false), bell, key, wait(10 * time.Second), say("b"), wait(30 * time.Second)}, []string{"waiting@0", "active@0", "waiting@30 b"}},
		"not again if the person is back then": {[]step{focus(false), bell, key, wait(10 * time.Second), say("b"), key, wait(30 * time.Second)}, []string{"waiting@0", "active@0"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				begin := time.Now()
				note := func(what, text string) {
					got = append(got, strings.TrimSpace(fmt.Sprintf("%s@%d %s", what, int(time.Since(begin).Seconds()), text)))
				}
				a := &attention{
					quietAfter: 20 * time.Second,
					onWaiting:  func(text string) { note("waiting", text) }, onActive: func() { note("active", "") },
				}
				for _, s := range c.steps {
					s(a)
				}
				a.stop()
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

func FuzzSaidIsOneShortLine(f *testing.F) {
	f.Add("done\n\x1b[31mnow " + strings.Repeat("漢", 100))
	f.Fuzz(func(t *testing.T, s string) {
		got := said(s)
		if len(got) > maxSaid || strings.ContainsAny(got, "\n\r\x1b\x07") || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

func TestSerialKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s serial
		var got []int
		for i := range 100 {
			s.do(func() { got = append(got, i) })
		}
		synctest.Wait()
		for i, n := range got {
			if i != n {
				t.Fatalf("%v", got)
			}
		}
		if len(got) != 100 {
			t.Errorf("%d of 100 were run", len(got))
		}
	})
}
