package session

import (
	"strings"
	"testing"
)

func TestBannerStandsAboveTheProgram(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.shows("agent at work")
	if got := s.row(0); !strings.Contains(got, "CAL ISOLATION ACTIVE │ VM: demo │ Safe Mode") {
		t.Errorf("banner %q", got)
	}
	if size, _ := s.g.lastSize(); size != "80x23" {
		t.Errorf("the program has a terminal of %s", size)
	}
	s.c.SetStatus(Status{Level: LevelTrouble, Workspace: "demo", Mode: "Broken: the host answers"})
	s.shows("CAL ISOLATION BROKEN │ VM: demo │ Broken: the host answers")
	s.g.exit <- 7
	if r := s.ended(); r != (RunResult{Exit: 7}) || s.err != nil {
		t.Errorf("%+v, %v", r, s.err)
	}
}

func TestKeysReachTheProgram(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.send("ls\r")
	s.g.gets(t, "ls\r")
	s.send("\x1b") // a lone escape is not kept waiting for more
	s.g.gets(t, "ls\r\x1b")
	s.send("\x1b[A\x1b")
	s.g.gets(t, "ls\r\x1b\x1b[A\x1b")
}

func TestPrefixTwiceIsTheKeyItself(t *testing.T) {
	for name, press := range map[string]string{
		"byte": prefix, "kitty": "\x1b[93;5u", "kitty with num lock": "\x1b[93;133u", "modifyOtherKeys": "\x1b[27;5;93~",
	} {
		t.Run(name, func(t *testing.T) {
			s := perform(t, 80, 24, nil)
			s.send("a" + press + press + "bcd")
			s.g.gets(t, "a"+press+"bcd")
			s.shows("agent at work")
			s.hides("napshot")
		})
	}
}

func TestKeysThatAreNotThePrefix(t *testing.T) {
	s := perform(t, 80, 24, nil)
	all := "\x1b[93;5:3u" + "\x1b[93;1u" + "\x1b[93u" + "\x1b[93;7u" + "\x1b]x\x07" + "]"
	s.send(all)
	s.g.gets(t, all)
}

func TestPrefixInsideAPasteIsData(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.g.out <- "\x1b[?2004h"
	paste := pasteBegin + "one" + prefix + "two\x1b[93;5uthree" + pasteEnd
	s.send(paste + "x")
	s.g.gets(t, paste+"x")
	s.send(prefix)
	s.shows("[S]napshot")
}

func TestBarOpensAndCloses(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.shows("agent at work")
	s.send(prefix)
	s.shows("[S]napshot │ [C]ommit │ [P]R │ [R]ollback │ [A]gent │ [Q]uit │ ?:Help")
	if !strings.Contains(s.row(-1), "[S]napshot") || !strings.Contains(s.row(1), "agent at work") {
		t.Errorf("bar and program:\n%s", strings.Join(s.screen(), "\n"))
	}
	s.send("\x1b")
	s.hides("[S]napshot")
	s.send("x")
	s.g.gets(t, "x")
	s.send(prefix + "z")
	s.shows(`'z' is no key of CALMenu`)
	s.send("y") // takes the notice away
	s.hides("no key of")
	s.send("w")
	s.g.gets(t, "xw")
	s.send(prefix + "?")
	s.shows("Closing this window keeps the agent running")
	s.send("\r")
	s.hides("Closing this window")
	s.shows("agent at work")
}

func TestBarFitsNarrowTerminals(t *testing.T) {
	for width := 8; width < 120; width++ {
		if s := bar(width); cells.StringWidth(s) > width || !strings.Contains(s, "?") {
			t.Errorf("%d columns: %q", width, s)
		}
	}
	s := perform(t, 40, 10, nil)
	s.send(prefix)
	s.shows("[S] [C] [P] [R] [A] [Q] ?:Help")
}

func TestOutputIsHeldWhileTheBarIsOpen(t *testing.T) {
	s := perform(t, 80, 24, func(o *ConsoleOptions) { o.Banner = false })
	s.shows("agent at work")
	s.send(prefix)
	s.shows("[S]napshot")
	before := len(s.written())
	s.g.out <- "\r\nprinted meanwhile\x1b[3"
	s.g.out <- "1mred\x1b[m"
	s.g.out <- "\x1b[?25l"
	if got := s.written()[before:]; strings.Contains(got, "meanwhile") {
		t.Errorf("the bar is mixed with %q", got)
	}
	s.send("\x1b")
	until(t, "what was held", func() bool {
		return strings.Contains(s.written()[before:], "\r\nprinted meanwhile\x1b[31mred\x1b[m\x1b[?25l")
	})
	s.hides("[S]napshot")
	s.shows("agent at work") // painted anew
}

// A dialog that is open while the program floods must not cost memory without end, nor lose anything.
func TestFloodBehindAnOpenBar(t *testing.T) {
	s := perform(t, 80, 24, nil)
	s.send(prefix)
	s.shows("[S]napshot")
	s.blind.Store(true)
	line := strings.Repeat("0123456789abcde\n", 4096) // 64 KiB
	const parts = 80                                  // 5 MiB: more than is held
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range parts {
			s.g.out <- line
		}
		s.g.out <- "the end"
	}()
	until(t, "a program that waits", func() bool {
		<-s.c.screen.gate
		defer s.c.screen.unlock()
		return len(s.c.screen.held) == maxHeld
	})
	select {
	case <-sent:
		t.Fatal("everything was taken")
	default:
	}
	s.send("\x1b")
	<-sent
	until(t, "the end", func() bool { return strings.Contains(s.written(), "the end") })
	if n := strings.Count(s.written(), "0123456789abcde\n"); n != parts*4096 {
		t.Errorf("%d of %d lines came through", n, parts*4096)
	}
}
