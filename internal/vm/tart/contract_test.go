package tart_test

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests named TestContractRowNN hold the double to the rows of the Tart contract; the driver has tests of its own.

// wantResult compares how a command ended. The texts of a usage are matched by their beginning alone.
func wantResult(t *testing.T, r result, code int, out, errText string) {
	t.Helper()
	gotErr := strings.TrimSuffix(r.err, "\n")
	if code == 64 {
		before, _, usage := strings.Cut(gotErr, "\nUsage: tart ")
		if !usage {
			t.Errorf("standard error has no usage: %q", gotErr)
		}
		gotErr = before
	}
	if r.code != code || r.out != out || gotErr != errText {
		t.Errorf("exit %d, printed %q and %q, want exit %d, %q and %q", r.code, r.out, gotErr, code, out, errText)
	}
}

// linux makes Linux machines: they have no limit.
func (w *world) linux(names ...string) *world {
	w.Helper()
	for _, name := range names {
		w.must("create", "--linux", "--disk-size", "50", name)
	}
	return w
}

func (w *world) darwin(names ...string) *world {
	w.Helper()
	for _, name := range names {
		w.must("create", "--from-ipsw", "latest", name)
	}
	return w
}

// suspended makes a suspended macOS machine.
func (w *world) suspended(name string) *world {
	w.Helper()
	w.darwin(name)
	p := w.boot(name, "--suspendable")
	w.must("suspend", name)
	if r := p.end(); r.code != 0 {
		w.Fatalf("suspending: exit %d, %s%s", r.code, r.out, r.err)
	}
	return w
}

func TestContractRow01_version(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").tart("--version"), 0, "2.32.1\n", "")
}

func TestContractRow02_help(t *testing.T) {
	t.Parallel()
	r := newWorld(t, "").tart()
	if r.code != 0 || r.err != "" || !strings.Contains(r.out, "SUBCOMMANDS") {
		t.Errorf("without arguments: %+v, want help and exit 0", r)
	}
}

func TestContractRow03_unknown_command(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").tart("bogus"), 64, "", "Error: Unexpected argument 'bogus'")
}

func TestContractRow04_run_missing(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").tart("run", "m"), 1, "", `Error: the specified VM "m" does not exist`)
}

func TestContractRow05_others_missing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, args := range []string{"stop m", "get m", "set m", "ip m", "exec m x", "suspend m"} {
		wantResult(t, w.tart(strings.Fields(args)...), 2, "", `the specified VM "m" does not exist`)
	}
}

func TestContractRow06_delete_missing(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").tart("delete", "m"), 2, "", `the specified VM "m" does not exist`)
}

func TestContractRow07_clone_missing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	wantResult(t, w.tart("clone", "m", "n"), 2, "", `the specified VM "m" does not exist`)
	w.wantState("n", "")
}

func TestContractRow08_incomplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	if err := os.Remove(w.path("vms", "x", "disk.img")); err != nil {
		t.Fatal(err)
	}
	const text = "VM is missing some of its files (config.json, disk.img or nvram.bin)"
	wantResult(t, w.tart("get", "x"), 1, "", text)
	wantResult(t, w.tart("run", "x"), 1, "", "Error: "+text)
	w.wantState("x", "")
}

func TestContractRow09_clone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a")
	wantResult(t, w.tart("clone", "a", "b"), 0, "", "")
	w.wantState("b", "stopped")
	if w.mac("a") == w.mac("b") {
		t.Error("the clone has the same MAC address")
	}
}

func TestContractRow10_clone_replaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a", "b")
	w.put("a", "of a")
	w.put("b", "of b")
	wantResult(t, w.tart("clone", "a", "b"), 0, "", "")
	if got := w.disk("b"); got != "of a" {
		t.Errorf("disk of b holds %q, want a's", got)
	}
}

func TestContractRow11_clone_replaces_running(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a", "b")
	old := w.boot("b")
	wantResult(t, w.tart("clone", "a", "b"), 0, "", "")
	w.wantState("b", "stopped")
	wantResult(t, w.tart("stop", "b"), 2, "", `VM "b" is not running`)
	if old.ended() {
		t.Error("the old process ended")
	}
}

func TestContractRow12_clone_of_running(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a")
	w.boot("a")
	wantResult(t, w.tart("clone", "a", "b"), 0, "", "")
	w.wantState("b", "stopped")
	if w.mac("a") == w.mac("b") {
		t.Error("the clone has the same MAC address")
	}
}

func TestContractRow13_clone_of_suspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").suspended("a")
	wantResult(t, w.tart("clone", "a", "b"), 0, "", "")
	w.wantState("b", "suspended")
	if w.mac("a") != w.mac("b") {
		t.Error("the clone has another MAC address")
	}
}

const oneImage = `"registry": {"host.example/ns/img:latest": {}}`

func TestContractRow14_clone_of_image(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{`+oneImage+`}`)
	w.must("pull", "host.example/ns/img")
	w.must("clone", "host.example/ns/img:latest", "a")
	w.must("clone", "host.example/ns/img", "b")
	image, err := os.ReadFile(w.path("cache", "OCIs", "host.example", "ns", "img", "latest", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(image), w.mac("a")) || strings.Contains(string(image), w.mac("b")) {
		t.Errorf("addresses of two clones: %s and %s, image: %s", w.mac("a"), w.mac("b"), image)
	}
}

func TestContractRow15_clone_of_cached_image_without_registry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{`+oneImage+`}`)
	w.must("pull", "host.example/ns/img:latest")
	w.script(`{"registry_down": true}`)
	wantResult(t, w.tart("clone", "host.example/ns/img:latest", "a"), 0, "", "")
	if r := w.tart("pull", "host.example/ns/img:latest"); r.code != 1 {
		t.Errorf("pull without a registry: %+v", r)
	}
}

func TestContractRow16_unknown_image(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	wantResult(t, w.tart("clone", "host.example/ns/none:1", "a"), 1,
		"pulling host.example/ns/none:1...\npulling manifest...\n",
		`Error: UnexpectedHTTPStatusCode(when: "pulling manifest", code: 404, details: "not found")`)
	w.wantState("a", "")
}

func TestContractRow17_clone_to_bad_name(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a")
	wantResult(t, w.tart("clone", "a", "b/c"), 64, "", "Error: <new-name> should be a local name")
}

func TestContractRow18_clone_waits_for_home_lock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a")
	f, err := os.Open(w.home)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p := w.begin("clone", "a", "b")
	w.await("the copy's directory", func() bool {
		tmp, _ := os.ReadDir(w.path("tmp"))
		return len(tmp) > 0
	})
	if p.ended() {
		t.Error("clone did not wait for the lock")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	wantResult(t, p.end(), 0, "", "")
	w.wantState("b", "stopped")
}

func TestContractRow19_clone_beside_malformed_config(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a", "z")
	if err := os.WriteFile(w.path("vms", "z", "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.tart("clone", "a", "b"); r.code != 1 || !strings.HasPrefix(r.err, "Error: ") {
		t.Errorf("clone beside a malformed machine: %+v", r)
	}
}

func TestContractRow20_list_empty_json(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").tart("list", "--format", "json"), 0, "[\n\n]\n", "")
}

func TestContractRow21_list_json(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{`+oneImage+`}`).linux("a")
	w.must("pull", "host.example/ns/img:latest")
	orders := map[string]bool{}
	w.await("another order of keys", func() bool {
		out := w.must("list", "--format", "json")
		if !strings.Contains(out, `host.example\/ns\/img`) || !strings.Contains(out, `" : `) {
			t.Fatalf("list is not printed as Foundation does: %s", out)
		}
		orders[out] = true
		return len(orders) > 1
	})
	var all []struct {
		Source, Name, Accessed, State string
		Disk, Size                    int
		Running                       bool
	}
	if err := json.Unmarshal([]byte(w.must("list", "--format", "json")), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 || all[0].Name != "a" || all[0].Source != "local" || all[0].Disk != 50 || all[0].State != "stopped" {
		t.Errorf("list = %+v", all)
	}
	for _, e := range all[1:] {
		if e.Source != "OCI" || !strings.HasPrefix(e.Name, "host.example/ns/img") {
			t.Errorf("image = %+v", e)
		}
	}
	if _, err := time.Parse(time.RFC3339, all[0].Accessed); err != nil {
		t.Errorf("Accessed: %v", err)
	}
}

func TestContractRow22_list_empty(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").tart("list"), 0, "\n", "")
}

func TestContractRow23_list_quiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("b", "a")
	wantResult(t, w.tart("list", "-q", "--format", "json"), 0, "a\nb\n", "")
}

func TestContractRow24_list_bad_options(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	wantResult(t, w.tart("list", "--source", "foo"), 64, "", "Error: 'foo' is not a valid <source>")
	wantResult(t, w.tart("list", "--format", "yaml"), 64, "",
		"Error: The value 'yaml' is invalid for '--format <format>'. Please provide one of 'text' and 'json'.")
}

func TestContractRow25_get_json(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").darwin("x")
	var got map[string]any
	if err := json.Unmarshal([]byte(w.must("get", "x", "--format", "json")), &got); err != nil {
		t.Fatal(err)
	}
	size, ok := got["Size"].(string)
	if _, decimals, _ := strings.Cut(size, "."); !ok || len(decimals) != 3 {
		t.Errorf("Size = %v, want a string with three decimals", got["Size"])
	}
	for key, want := range map[string]any{
		"OS": "darwin", "CPU": 4.0, "Memory": 4096.0, "Disk": 50.0, "DiskFormat": "raw", "Display": "1024x768",
		"Running": false, "State": "stopped",
	} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
}

func TestContractRow26_run(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"guests": {"*": {"boot_delay": 1000}}}`).linux("x")
	p := w.begin("run", "x", "--no-graphics")
	w.await("x runs", func() bool { return w.running("x") })
	w.wantState("x", "running") // long before the guest answers
	p.signal(syscall.SIGKILL)
	if r := p.end(); r.out != "" || r.err != "" {
		t.Errorf("run printed %q and %q", r.out, r.err)
	}
}

func TestContractRow27_run_twice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	w.boot("x")
	wantResult(t, w.tart("run", "x"), 2, "", `VM "x" is already running!`)
}

func TestContractRow28_guest_powers_off(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	p := w.boot("x")
	w.must("exec", "x", "sudo", "shutdown", "-h", "now")
	wantResult(t, p.end(), 0, "guest has stopped the virtual machine\n", "")
	w.wantState("x", "stopped")
}

func TestContractRow29_guest_crashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"guests": {"x": {"exit_error": "Internal Virtualization error."}}}`).linux("x")
	wantResult(t, w.tart("run", "x"), 0,
		"guest has stopped the virtual machine due to error: Internal Virtualization error.\n", "")
}

func TestContractRow30_third_darwin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").darwin("a", "b", "c").linux("l")
	w.boot("a")
	w.boot("b")
	w.boot("l") // is not counted
	wantResult(t, w.tart("run", "c"), 1, "",
		"The number of VMs exceeds the system limit (other running VMs: a, b)")
	w.wantState("c", "stopped")
}

func TestContractRow31_slots_taken_by_others(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"foreign_vms": 2}`).darwin("a")
	wantResult(t, w.tart("run", "a"), 1, "", "The number of VMs exceeds the system limit")
}

func TestContractRow32_sigint(t *testing.T) {
	t.Parallel()
	p := newWorld(t, "").linux("x").boot("x")
	p.signal(syscall.SIGINT)
	wantResult(t, p.end(), 0, "Stopping VM...\n", "")
}
