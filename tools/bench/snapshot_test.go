package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// at makes a moment of milliseconds.
func at(ms int) time.Time { return time.UnixMilli(int64(1_700_000_000_000 + ms)) }

func moments(ms ...int) []time.Time {
	var all []time.Time
	for _, n := range ms {
		all = append(all, at(n))
	}
	return all
}

func TestLongestGap(t *testing.T) {
	ticks := moments(0, 5, 10, 410, 415, 420, 1020, 1025)
	for _, tt := range []struct {
		name     string
		ticks    []time.Time
		from, to int
		want     time.Duration
	}{
		{"within", ticks, 6, 418, 400 * time.Millisecond},
		{"the longer of two", ticks, 6, 1022, 600 * time.Millisecond},
		{"begins before what is looked at", ticks, 200, 300, 400 * time.Millisecond},
		{"ends after it", ticks, 417, 500, 600 * time.Millisecond},
		{"before it", ticks, 412, 419, 5 * time.Millisecond},
		{"after it", ticks, 1, 9, 5 * time.Millisecond},
		{"touching only", ticks, 410, 420, 5 * time.Millisecond},
		{"after the last tick", ticks, 2000, 3000, 0},
		{"one tick", moments(7), 0, 10, 0},
		{"none", nil, 0, 10, 0},
	} {
		if got := longestGap(tt.ticks, at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestUsualGap(t *testing.T) {
	ticks := moments(0, 5, 10, 16, 116, 121, 126)
	for _, tt := range []struct {
		name     string
		from, to int
		want     time.Duration
	}{
		{"the median, whatever the longest", 0, 126, 5 * time.Millisecond},
		{"only what lies within", 10, 121, 6 * time.Millisecond},
		{"nothing lies within", 17, 115, 0},
	} {
		if got := usualGap(ticks, at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMemoryInUse(t *testing.T) {
	const meminfo = "MemTotal:        2027024 kB\nMemFree:         1941852 kB\nMemAvailable:    1891144 kB\n"
	if got, err := memoryInUse(meminfo); err != nil || got != 83 {
		t.Errorf("%d MiB, %v, want 83", got, err)
	}
	for _, broken := range []string{"", "MemTotal: 2027024 kB\n", "MemTotal: much\nMemFree: 3 kB\n"} {
		if got, err := memoryInUse(broken); err == nil {
			t.Errorf("%q: %d MiB", broken, got)
		}
	}
}

func TestState(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   state
		ok     bool
	}{
		{"e30fa981\nkept\n", state{"e30fa981", "kept"}, true},
		{"e30fa981\n", state{"e30fa981", ""}, true},
		{"", state{}, false},
		{"a motd that has words\n", state{}, false},
	} {
		if got, err := parseState(tt.answer); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %+v, %v", tt.answer, got, err)
		}
	}
}

func TestWasRolledBack(t *testing.T) {
	before := state{"boot-1", markWrecked}
	for _, tt := range []struct {
		name  string
		after state
		kind  string
		ok    bool
	}{
		{"resumed", state{"boot-1", markKept}, warm, true},
		{"booted", state{"boot-2", markKept}, cold, true},
		{"warm, but booted", state{"boot-2", markKept}, warm, false},
		{"cold, but the same boot", state{"boot-1", markKept}, cold, false},
		{"not rolled back", state{"boot-1", markWrecked}, warm, false},
		{"lost", state{"boot-2", ""}, cold, false},
	} {
		if err := wasRolledBack(before, tt.after, tt.kind); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestUntilSSH(t *testing.T) {
	const journal = `
{"time":"2026-01-17T14:30:00Z","kind":"op.begin","verb":"start"}
{"time":"2026-01-17T14:30:01Z","kind":"op.phase","verb":"start","phase":"booting"}
{"time":"2026-01-17T14:30:07Z","kind":"op.phase","verb":"start","phase":"setting the clock"}
{"time":"2026-01-17T14:30:08Z","kind":"op.phase","verb":"start","phase":"checking the guest's setup"}
{"time":"2026-01-17T14:30:09Z","kind":"op.phase","verb":"start","phase":"checking isolation"}
{"time":"2026-01-17T14:30:10Z","kind":"op.end","verb":"start"}
{"time":"2026-01-17T14:31:00Z","kind":"op.begin","verb":"rollback"}
{"time":"2026-01-17T14:31:01Z","kind":"op.phase","verb":"rollback","phase":"resuming"}
{"time":"2026-01-17T14:31:02Z","kind":"op.phase","verb":"rollback","phase":"setting the clock"}
{"time":"2026-01-17T14:31:02.5Z","kind":"op.phase","verb":"rollback","phase":"checking isolation"}
`
	events, err := parseJournal([]byte(journal))
	if err != nil {
		t.Fatal(err)
	}
	for verb, want := range map[string]time.Duration{"start": 8 * time.Second, "rollback": 2500 * time.Millisecond} {
		if got, err := untilSSH(events, verb); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", verb, got, err, want)
		}
	}
	if got, err := untilSSH(events, "restart"); err == nil {
		t.Errorf("a verb that was not run took %v", got)
	}
	// A later one that came to nothing is not taken for the earlier.
	failed := append(slices.Clone(events), event{Time: at(0), Kind: "op.begin", Verb: "start"})
	if got, err := untilSSH(failed, "start"); err == nil {
		t.Errorf("a start that failed took %v", got)
	}
}

func TestOptions(t *testing.T) {
	const line = "qemu-system-x86_64 -name calmenu-bench -accel tcg,thread=multi -cpu qemu64,+ssse3 -M q35 -m 2048 -smp 2 -kernel"
	want := "-m 2048 -smp 2 -accel tcg,thread=multi"
	if got := strings.Join(options(line, "-m", "-smp", "-accel", "-kernel"), " "); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestActiveLayer(t *testing.T) {
	got, err := activeLayer([]byte(`{"version":2,"disk":{"active":"ba53f78c0583","layers":{}}}`))
	if err != nil || got != "layers/ba53f78c0583.qcow2" {
		t.Errorf("%q, %v", got, err)
	}
	for _, broken := range []string{"", "{}", `{"disk":{"active":7}}`} {
		if got, err := activeLayer([]byte(broken)); err == nil {
			t.Errorf("%q: %q", broken, got)
		}
	}
}

func TestMonitorAnswers(t *testing.T) {
	for _, tt := range []struct{ name, said, want, fails string }{
		{"behind greeting and events", `{"QMP":{}} {"event":"STOP"} {"return":"fine"}`, `"fine"`, ""},
		{"an empty object", `{"return":{}}`, `{}`, ""},
		{"refused", `{"error":{"class":"GenericError","desc":"State blocked"}}`, "", "State blocked"},
		{"the machine ended", `{"event":"SHUTDOWN"}`, "", "ended"},
		{"nonsense", `{"return`, "", "unexpected EOF"},
	} {
		got, err := readAnswer(json.NewDecoder(strings.NewReader(tt.said)), "savevm")
		if string(got) != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
	}
}

func TestSavedSize(t *testing.T) {
	const disk = `[{"device":"disk","inserted":{"image":{"snapshots":[{"name":"bench","vm-state-size":%s}]}}}]`
	if got, err := savedSize(fmt.Appendf(nil, disk, "196083712")); err != nil || got != 187<<20 {
		t.Errorf("%d, %v", got, err)
	}
	for _, none := range []string{"[]", fmt.Sprintf(disk, "0"), `[{"device":"disk","inserted":{"image":{}}}]`, "7"} {
		if got, err := savedSize([]byte(none)); err == nil {
			t.Errorf("%s: %d", none, got)
		}
	}
}

func TestDiskUse(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	use := func(path string) int64 {
		t.Helper()
		n, err := diskUse(path)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := os.Mkdir(filepath.Join(dir, "layers"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("layers/a", 64<<10)
	one := use(filepath.Join(dir, "layers", "a"))
	if err := os.Link(filepath.Join(dir, "layers", "a"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	if got := use(dir); got != one || one == 0 {
		t.Errorf("a file with two names takes %d bytes, %d with one", got, one)
	}
	write("sparse", 0)
	if err := os.Truncate(filepath.Join(dir, "sparse"), 1<<30); err != nil {
		t.Fatal(err)
	}
	if got := use(dir); got >= 1<<30 {
		t.Errorf("a hole takes %d bytes", got)
	}
	if got := use(filepath.Join(dir, "gone")); got != 0 {
		t.Errorf("nothing takes %d bytes", got)
	}
}

func TestAgain(t *testing.T) {
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name string
		done int
		by   time.Time
		want bool
	}{
		{"the first", 0, later, true},
		{"one of three", 1, later, true},
		{"all", 3, later, false},
		{"late, but not once", 0, before, true},
		{"late", 1, before, false},
	} {
		s := &snapshotBench{b: &bench{runs: 3}, by: tt.by}
		if got := s.again(tt.done); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// The parts fit into a group's time, and are in order.
func TestSnapshotPartsFit(t *testing.T) {
	last := time.Duration(0)
	for _, p := range snapshotParts {
		if p.by <= last || p.by >= groupTime {
			t.Errorf("%s is to be over after %s: the one before after %s, the group after %s", p.name, p.by, last, groupTime)
		}
		last = p.by
	}
}

func TestSnapshotFigures(t *testing.T) {
	r := snapshotResults{
		accelerator: "accel tcg",
		boot:        prompts{prompt: []float64{10, 12, 11}, first: []float64{6, 6, 6}},
		stopped:     []float64{0.2},
		warm: kindResults{
			create: []float64{1}, size: []float64{130}, prompts: prompts{prompt: []float64{3.3}, first: []float64{2.4}},
		},
		cold:   kindResults{create: []float64{0.4}, size: []float64{0.5}, prompts: prompts{[]float64{11}, []float64{7}}},
		pauses: []*pause{{target: littleMemory, used: 90}, {target: muchMemory, used: 1020}},
		busy:   &pause{target: muchMemory, changing: rewritten},
		saved:  []*saved{{target: littleMemory, stood: []float64{0.5}, save: []float64{0.5}, load: []float64{2}, growth: []float64{120}}},
		copied: []float64{0.8}, copySize: []float64{800}, qemuImg: []float64{0.01}, qemuImgBoot: []float64{6},
		disks: []*diskCost{
			{disk: disk{gib: 4}, create: []float64{0.5}, rollback: []float64{4}},
			{disk: disk{gib: 32}, create: []float64{0.5}, rollback: []float64{8}},
		},
	}
	r.pauses[0].add(300*time.Millisecond, 20*time.Millisecond, 0.9, 120<<20)
	r.pauses[1].add(1600*time.Millisecond, 20*time.Millisecond, 2.9, 1020<<20)
	r.busy.add(700*time.Millisecond, 30*time.Millisecond, 3, 1020<<20)
	got := map[string]Figure{}
	for _, f := range r.figures() {
		if _, there := got[f.Name]; there {
			t.Errorf("%q is there twice", f.Name)
		}
		got[f.Name] = f.judged()
	}
	for _, tt := range []struct {
		name  string
		value float64
		peer  string
		ratio float64 // 0: none
		ok    bool
	}{
		{"cold boot to a prompt", 11, "", 0, true},
		{"rollback, warm, to a prompt", 3.3, peerBoot, 0.3, true},
		{"rollback, warm, to SSH", 2.4, peerBoot, 0.4, false},
		{"rollback, warm, to SSH, beside loadvm", 2.4, peerLoad, 1.2, true},
		{"rollback, cold, to a prompt", 11, peerBoot, 1, true},
		{"rollback, cold, to SSH, beside qemu-img", 7, peerImgBoot, 7. / 6, true},
		{"pause, warm, 128 MiB in use", 0.3, peerSave, 0.6, true},
		{"pause, warm, 1024 MiB in use", 1.6, "", 0, false},
		{"pause, warm, 1024 MiB in use, 256 of it changing", 0.7, "", 0, true},
		{"create, warm, 128 MiB in use", 0.9, peerSave, 1.8, true},
		{"size, warm, 128 MiB in use", 120, peerSave, 1, true},
		{"create, cold", 0.4, peerCopy, 0.5, true},
		{"create, cold, VM stopped", 0.2, peerImg, 20, true},
		{"size, cold", 0.5, peerCopy, 0.5 / 800, true},
		{"create, cold, 32 GiB disk", 0.5, "4 GiB disk", 1, true},
		{"rollback, warm, 32 GiB disk", 8, "4 GiB disk", 2, false},
	} {
		f, there := got[tt.name]
		if !there {
			t.Errorf("%q is missing", tt.name)
			continue
		}
		ratio := 0.0
		if f.Ratio != nil {
			ratio = *f.Ratio
		}
		if f.Value != tt.value || f.Peer != tt.peer || f.OK != tt.ok || ratio < tt.ratio*0.999 || ratio > tt.ratio*1.001 {
			t.Errorf("%q is %g beside %q, ratio %g, ok %v; want %+v", tt.name, f.Value, f.Peer, ratio, f.OK, tt)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "new from a template") {
			t.Errorf("%q was not measured", name)
		}
	}
	// Of what was not measured there is no figure, nor of what lacks the half that it is put beside.
	nothing := snapshotResults{pauses: []*pause{{target: littleMemory}}, busy: &pause{}, cold: r.cold}
	if all := nothing.figures(); len(all) != 0 {
		t.Errorf("of nothing there is %+v", all)
	}
}

// Waiting for ticks ends when they came, with the connection and with its context.
func TestHeartbeat(t *testing.T) {
	h := &heartbeat{done: make(chan struct{})}
	h.times = moments(0, 5, 10)
	if err := h.await(t.Context(), at(4), 2); err != nil {
		t.Errorf("two ticks that came: %v", err)
	}
	close(h.done)
	if err := h.await(t.Context(), at(4), 3); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("a tick that never comes: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	h.done = make(chan struct{})
	if err := h.await(ended, at(4), 3); err == nil {
		t.Error("the wait did not end with its context")
	}
}

// A guest's server that answers late is waited for, connections that nobody answers notwithstanding.
func TestGreet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			switch n {
			case 0: // closed at once, as QEMU does while the guest refuses
				_ = conn.Close()
			case 1:
				_, _ = conn.Write([]byte("HTTP/1.1"))
			default:
				_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
			}
		}
	}()
	p := sshPeer{address: l.Addr().String()}
	greeted := make(chan struct{}, 1)
	for _, want := range []int{0, 0, 1, 1} {
		p.greet(t.Context(), time.Minute, greeted)
		if len(greeted) != want {
			t.Errorf("greeted %d times, want %d", len(greeted), want)
		}
	}
}
