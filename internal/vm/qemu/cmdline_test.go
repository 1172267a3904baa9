package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files")

func testLaunch(kvm bool) launch {
	return launch{
		record: record{Name: "demo", CPU: 2, MemoryMiB: 2048, Disk: tree{Active: "0123456789ab"}},
		kvm:    kvm, port: 40022,
	}
}

// golden compares text with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestCommandLine(t *testing.T) {
	golden(t, "tcg.golden", strings.Join(testLaunch(false).commandLine(), "\n")+"\n")
	golden(t, "kvm.golden", strings.Join(testLaunch(true).commandLine(), "\n")+"\n")
}

// TestGuestsOfSteadyHosts: only their kernels are told to go by this host's counter, and memory knows no difference.
func TestGuestsOfSteadyHosts(t *testing.T) {
	s := testLaunch(false)
	shape := s.shape()
	s.steady = true
	if !slices.ContainsFunc(s.commandLine(), func(arg string) bool { return strings.HasSuffix(arg, " tsc=reliable") }) {
		t.Errorf("not told: %q", s.commandLine())
	}
	if !slices.Equal(s.shape(), shape) {
		t.Errorf("memory of before fits no more: %q", s.shape())
	}
	for text, want := range map[string]bool{
		"flags\t\t: fpu tsc constant_tsc nonstop_tsc\n": true,
		"flags\t\t: fpu tsc constant_tsc\n":             false,
		"flags\t\t: fpu tsc nonstop_tsc\n":              false,
		"Features\t: fp asimd\n":                        false,
	} {
		if got := steadyCounter([]byte(text), []byte("kvm-clock tsc acpi_pm \n")); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if steadyCounter([]byte(text), []byte("hpet acpi_pm \n")) {
			t.Errorf("%q, where the kernel does not trust it", text)
		}
	}
}

// What this package starts, it reads as closed; the port it gave is the port it finds.
func TestCommandLineReadBack(t *testing.T) {
	for _, kvm := range []bool{false, true} {
		argv := testLaunch(kvm).commandLine()
		if port, err := sshPort(argv); err != nil || port != 40022 {
			t.Errorf("port %d, %v", port, err)
		}
		if got := readExposure(argv); !reflect.DeepEqual(got, exposed{restricted: true}) {
			t.Errorf("exposure of a machine of this driver: %+v", got)
		}
		for _, arg := range argv {
			if strings.HasPrefix(arg, "/") || strings.Contains(arg, "=/") && !strings.HasSuffix(arg, "=/dev/urandom") &&
				!strings.HasPrefix(arg, "root=/dev/vda") {
				t.Errorf("absolute path in %q", arg)
			}
		}
	}
}

func TestReadExposure(t *testing.T) {
	const closed = "-nodefaults -netdev user,id=n,restrict=on"
	for _, tt := range []struct {
		argv string
		want exposed
	}{
		{closed, exposed{restricted: true}},
		{"-nodefaults", exposed{restricted: true}},
		{"-nodefaults -nic none", exposed{restricted: true}},
		{"-m 1", exposed{}},
		{"-nodefaults -netdev user,id=n", exposed{}},
		{"-nodefaults -netdev user,id=n,restrict=off", exposed{}},
		{"-nodefaults -netdev tap,id=n", exposed{}},
		{closed + " -netdev type=user,id=m", exposed{}},
		{closed + " --nic user", exposed{}},
		{closed + " -virtfs local,path=/home,mount_tag=h,security_model=none", exposed{shares: []string{"/home"}, restricted: true}},
		{closed + " -fsdev local,id=f,path=/etc", exposed{shares: []string{"/etc"}, restricted: true}},
		{closed + " -drive file=fat:rw:/srv,format=raw", exposed{shares: []string{"/srv"}, restricted: true}},
		{closed + " -hdb fat:/srv", exposed{shares: []string{"/srv"}, restricted: true}},
		{closed + " -device vhost-user-fs-pci,chardev=c", exposed{shares: []string{"vhost-user-fs-pci,chardev=c"}, restricted: true}},
		{closed + " -device driver=usb-mtp,rootdir=/mnt", exposed{shares: []string{"/mnt"}, restricted: true}},
		{closed + " -chardev qemu-vdagent,id=v,clipboard=on", exposed{restricted: true, clipboard: true}},
		{closed + " -chardev backend=spicevmc,id=v", exposed{restricted: true, clipboard: true}},
		{closed + " -spice port=1", exposed{restricted: true, clipboard: true}},
		{closed + " -audiodev pa,id=a", exposed{restricted: true, audio: true}},
		{closed + " -audiodev none,id=a", exposed{restricted: true}},
		{closed + " -device intel-hda", exposed{restricted: true, audio: true}},
	} {
		if got := readExposure(strings.Fields(tt.argv)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.argv, got, tt.want)
		}
	}
}

func TestSSHPortRefuses(t *testing.T) {
	for _, argv := range []string{
		"", "-netdev", "-netdev user,id=n", "-netdev user,hostfwd=tcp:0.0.0.0:22-:22", "-netdev user,hostfwd=tcp:127.0.0.1:99999-:22",
		"-netdev user,hostfwd=tcp:127.0.0.1:0-:22", "-netdev user,hostfwd=tcp:127.0.0.1:40022-:80",
		"user,hostfwd=tcp:127.0.0.1:40022-:22",
	} {
		if port, err := sshPort(strings.Fields(argv)); err == nil {
			t.Errorf("%q: port %d", argv, port)
		}
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9C56 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   2: 0100007F:9C56 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   3: 0F02000A:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0
   4: 00000000000000000000000001000000:0050 0:0 0A 0:0 0:0 0 0 0 15 1
   5: nonsense 0:0 0A 0:0 0:0 0 0 0 15 1
`
	got := listening(table, map[string]bool{"11": true, "13": true, "14": true, "15": true})
	want := []string{"127.0.0.1:40022", "10.0.2.15:80", "[::1]:80"}
	if !slices.Equal(got, want) {
		t.Errorf("listening on %q, want %q", got, want)
	}
}

func TestHasVirtualisation(t *testing.T) {
	for text, want := range map[string]bool{
		"processor\t: 0\nflags\t\t: fpu vmx sse2\n":             true,
		"flags\t\t: fpu svm\n":                                  true,
		"flags\t\t: fpu vmxnet\nvmx flags\t: vnmi\nbugs: svm\n": false,
		"": false,
	} {
		if got := hasVirtualisation([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
