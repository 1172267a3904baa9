package tart_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/internal/vm/tart"
)

func TestNamesAreUnambiguous(t *testing.T) {
	tests := []struct{ name, ws, snapshot, temp string }{
		{name: "cal-demo", ws: "demo"},
		{name: "cal-demo_snap_s1", ws: "demo", snapshot: "s1"},
		{name: "cal-demo_tmp_x1", ws: "demo", temp: "x1"},
		{name: "cal-demo-snap-s1", ws: "demo-snap-s1"},
		{name: "cal-tmp-x", ws: "tmp-x"},
		{name: "demo"},
		{name: "cal-"},
		{name: "cal-Demo"},
		{name: "cal-demo_"},
		{name: "cal-demo_snap_"},
		{name: "cal-demo_snap_A"},
		{name: "cal-demo_other_s1"},
		{name: "cal-demo_snap_s1_snap_s2"},
	}
	for _, tt := range tests {
		if ws, snapshot, temp := tart.ParseName(tt.name); ws != tt.ws || snapshot != tt.snapshot || temp != tt.temp {
			t.Errorf("%s is workspace %q, snapshot %q, temp %q, want %+v", tt.name, ws, snapshot, temp, tt)
		}
	}
}

func TestArgumentsShowWhatIsShared(t *testing.T) {
	quiet := "tart run cal-a --no-graphics --no-audio --no-clipboard"
	tests := []struct {
		argv string
		want vm.Exposure
	}{
		{quiet, vm.Exposure{}},
		{"tart run cal-a", vm.Exposure{Clipboard: true, Audio: true}},
		{quiet + " --dir /o:tag=cal-output", vm.Exposure{Shares: []vm.Share{{HostPath: "/o"}}}},
		{quiet + " --dir=x:/o:ro", vm.Exposure{Shares: []vm.Share{{HostPath: "/o", ReadOnly: true}}}},
		{quiet + " --dir /a --dir /b:tag=t,ro", vm.Exposure{
			Shares: []vm.Share{{HostPath: "/a"}, {HostPath: "/b", ReadOnly: true}},
		}},
		{quiet + " --net-softnet --net-softnet-block=0.0.0.0/0", vm.Exposure{Restricted: true}},
		{quiet + " --net-softnet-block 10.0.0.0/8,0.0.0.0/0", vm.Exposure{Restricted: true}},
		{quiet + " --net-softnet-block=0.0.0.0/0 --net-softnet-allow=@host", vm.Exposure{}},
		{quiet + " --net-softnet --net-softnet-block=10.0.0.0/8", vm.Exposure{}},
		{quiet + " --net-softnet-expose 8080:80", vm.Exposure{Listeners: []string{"0.0.0.0:8080"}}},
		// A value that looks like an option is a value.
		{"tart run cal-a --no-audio --disk --no-clipboard", vm.Exposure{Clipboard: true}},
	}
	for _, tt := range tests {
		got, err := tart.ReadArguments(strings.Fields(tt.argv))
		if err != nil {
			t.Errorf("%s: %v", tt.argv, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.argv, diff)
		}
	}
	if _, err := tart.ReadArguments([]string{"tart", "push", "cal-a"}); err == nil {
		t.Error("a push, which holds the same lock, was taken for a run")
	}
}

func TestDownloadIsFollowed(t *testing.T) {
	var s tart.PullState
	var got []vm.Phase
	for line := range strings.Lines("pulling x...\npulling manifest...\n50%\npulling disk (16.0 GB compressed)...\n" +
		"0%\n\x1b[1A\r\x1b[J25%\n250%\npulling NVRAM...\n") {
		if p, ok := tart.ReadPull(&s, line); ok {
			got = append(got, p)
		}
	}
	const name = "downloading image"
	want := []vm.Phase{
		{Name: "asking the registry"},
		{Name: name, Total: 16e9},
		{Name: name, Total: 16e9},
		{Name: name, Done: 4e9, Total: 16e9},
		{Name: "finishing download"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

func procArgs(argv ...string) []byte {
	data := []byte{byte(len(argv)), 0, 0, 0}
	data = append(data, "/opt/homebrew/bin/tart\x00\x00\x00\x00"...)
	for _, a := range argv {
		data = append(append(data, a...), 0)
	}
	return append(data, "HOME=/Users/me\x00"...)
}

func TestProcessArgumentsOfMacOS(t *testing.T) {
	want := []string{"tart", "run", "cal-a", "--dir", "/Users/me/My Files:tag=cal-output", ""}
	got, err := tart.ParseProcArgs(procArgs(want...))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("ParseProcArgs = %q, %v, want %q", got, err, want)
	}
}

func FuzzParseProcArgs(f *testing.F) {
	f.Add(procArgs("tart", "run", "a b"))
	f.Add([]byte{255, 255, 255, 255, 0})
	f.Add([]byte("\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if argv, err := tart.ParseProcArgs(data); err == nil && len(argv) > 4096 {
			t.Errorf("%d arguments", len(argv))
		}
	})
}

func FuzzReadArguments(f *testing.F) {
	f.Add("tart\x00run\x00a\x00--dir\x00n:/p:ro,tag=t\x00--net-softnet-expose=1:2,3")
	f.Add("tart\x00run\x00--dir")
	f.Fuzz(func(t *testing.T, s string) {
		argv := strings.Split(s, "\x00")
		e, err := tart.ReadArguments(argv)
		if err == nil && !slices.Contains(argv, "--no-clipboard") && !e.Clipboard {
			t.Error("clipboard is off without being turned off")
		}
	})
}

func FuzzDownloadLine(f *testing.F) {
	f.Add("pulling disk (16.0 GB compressed)...")
	f.Add("\x1b[1A\r\x1b[J50%")
	f.Add("999%")
	f.Fuzz(func(t *testing.T, line string) {
		var s tart.PullState
		for range 2 {
			p, ok := tart.ReadPull(&s, line)
			if ok && (p.Name == "" || p.Done < 0 || p.Total < 0 || (p.Total > 0 && p.Done > p.Total)) {
				t.Errorf("%q is read as %+v", line, p)
			}
			_, _ = tart.ReadPull(&s, "pulling disk (9.5 GB compressed)...")
		}
	})
}

func FuzzParseList(f *testing.F) {
	f.Add("[\n\n]\n")
	f.Add(`[ { "Name" : "a\/b", "Source" : "OCI" } ]`)
	f.Fuzz(func(t *testing.T, out string) {
		all, err := tart.ParseList(out)
		for _, e := range all {
			if ws, _, _ := tart.ParseName(e.Name); err == nil && ws != "" && vm.ValidName(ws) != nil {
				t.Errorf("%q is read as workspace %q", e.Name, ws)
			}
		}
	})
}
