package tart_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ignoresInterrupt tells whether a process ignores SIGINT already: what it does first. Elsewhere than on Linux nothing
// shows it, and the signal comes a little later or earlier.
func ignoresInterrupt(t *testing.T, pid int) bool {
	if runtime.GOOS != "linux" {
		t.Skip("only /proc shows which signals a process ignores")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(status), "SigIgn:")
	mask, _, _ := strings.Cut(strings.TrimSpace(after), "\n")
	bits, err := strconv.ParseUint(mask, 16, 64)
	return err == nil && bits&(1<<(syscall.SIGINT-1)) != 0
}

func TestContractRow33_sigint_before_lock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"guests": {"x": {"lock_delay": 25}}}`).linux("x")
	p := w.begin("run", "x")
	w.await("the program is there", func() bool { return ignoresInterrupt(t, p.cmd.Process.Pid) })
	p.signal(syscall.SIGINT)
	w.await("x runs all the same", func() bool { return w.running("x") })
	w.await("x answers", func() bool { return w.tart("exec", "x", "true").code == 0 })
}

func TestContractRow34_sigterm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	p := w.boot("x")
	p.signal(syscall.SIGTERM)
	if r := p.end(); r.signal != syscall.SIGTERM {
		t.Errorf("run ended by %v with exit %d, want SIGTERM", r.signal, r.code)
	}
	w.wantState("x", "stopped")
}

func TestContractRow35_stop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	p := w.boot("x")
	wantResult(t, w.tart("stop", "x", "--timeout", "500"), 0, "", "")
	wantResult(t, p.end(), 0, "Stopping VM...\n", "")
	w.wantState("x", "stopped")
}

func TestContractRow36_stop_of_hanging_run(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"guests": {"x": {"ignore_sigint": true}}}`).linux("x")
	p := w.boot("x")
	wantResult(t, w.tart("stop", "x", "-t", "1"), 0, "", "")
	if r := p.end(); r.signal != syscall.SIGKILL {
		t.Errorf("run ended by %v with exit %d, want SIGKILL", r.signal, r.code)
	}
}

func TestContractRow37_stop_of_stopped(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").linux("x").tart("stop", "x"), 2, "", `VM "x" is not running`)
}

func TestContractRow38_stop_of_suspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").suspended("x")
	w.wantState("x", "suspended")
	wantResult(t, w.tart("stop", "x"), 0, "", "")
	w.wantState("x", "stopped")
}

func TestContractRow39_delete_of_running(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	w.boot("x")
	wantResult(t, w.tart("delete", "x"), 1, "", `VM "x" is running`)
	w.wantState("x", "running")
}

func TestContractRow40_delete_stops_at_first_failure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("ok", "ok2")
	wantResult(t, w.tart("delete", "ok", "missing", "ok2"), 2, "", `the specified VM "missing" does not exist`)
	w.wantState("ok", "")
	w.wantState("ok2", "stopped")
}

const shrink = "new disk size of 20 GB should be larger than the current disk size of 50 GB"

func TestContractRow41_shrink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("set", "x", "--disk-size", "20"), 1, "", shrink)
}

func TestContractRow42_failed_set_keeps_cpu(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("set", "x", "--cpu", "8", "--disk-size", "20"), 1, "", shrink)
	if got := w.config("x", "cpuCount"); got != 8.0 {
		t.Errorf("cpuCount = %v, want 8", got)
	}
}

func TestContractRow43_too_few_processors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").darwin("x")
	wantResult(t, w.tart("set", "x", "--cpu", "1"), 1, "",
		"Error: LessThanMinimalResourcesError: VM should have 4 CPU cores at minimum (requested 1)")
}

func TestContractRow44_number_out_of_range(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("set", "x", "--cpu", "70000"), 64, "",
		"Error: The value '70000' is invalid for '--cpu <cpu>'")
}

const withAddress = `{"guests": {"*": {"ip": "192.168.64.7", "ip_delay": 3}}}`

func TestContractRow45_random_mac_of_running(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAddress).linux("x")
	w.boot("x")
	if got := w.must("ip", "x", "--wait", "500"); got != "192.168.64.7\n" {
		t.Errorf("ip = %q", got)
	}
	w.must("set", "x", "--random-mac")
	wantResult(t, w.tart("ip", "x"), 1, "", "no IP address found")
}

func TestContractRow46_no_lease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	before := time.Now()
	wantResult(t, w.tart("ip", "x"), 1, "", "no IP address found, is your VM running?")
	wantResult(t, w.tart("ip", "x", "--resolver", "agent"), 1, "", "no IP address found, is your VM running?"+
		" (also make sure that Guest agent for Tart is running inside of a VM)")
	if took := time.Since(before); took < 2*time.Second/50 {
		t.Errorf("two failures took %s, want a (scaled) second each", took)
	}
}

func TestContractRow47_ip_waits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAddress).linux("x")
	w.begin("run", "x")
	w.await("x runs", func() bool { return w.running("x") })
	wantResult(t, w.tart("ip", "x", "--wait", "500"), 0, "192.168.64.7\n", "")
}

func TestContractRow48_stale_address(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withAddress).linux("x")
	p := w.boot("x")
	w.must("ip", "x", "--wait", "500")
	p.signal(syscall.SIGINT)
	p.end()
	wantResult(t, w.tart("ip", "x"), 0, "192.168.64.7\n", "")
}

func TestContractRow49_exec_in_stopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("exec", "x", "ls"), 2, "", `VM "x" is not running`)
}

func TestContractRow50_exec_exit_codes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	w.boot("x")
	wantResult(t, w.tart("exec", "x", "sh", "-c", "exit 42"), 42, "", "")
	wantResult(t, w.tart("exec", "x", "sh", "-c", "kill -9 $$"), 255, "", "")
	wantResult(t, w.tart("exec", "x", "no-such-program"), 1, "",
		`Error: unknown (2): exec: "no-such-program": executable file not found in $PATH`)
}

func TestContractRow51_exec_options_after_the_name(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	w.boot("x")
	for _, first := range []string{"--", "-i"} {
		wantResult(t, w.tart("exec", "x", first, "ls"), 1, "",
			`Error: unknown (2): exec: "`+first+`": executable file not found in $PATH`)
	}
}

func TestContractRow52_exec_nothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("exec", "x"), 64, "", "Error: Missing expected argument '<command> ...'")
}

func TestContractRow53_agent_down(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"guests": {"x": {"no_agent": true}}}`).linux("x")
	w.begin("run", "x")
	w.await("x runs", func() bool { return w.running("x") })
	wantAgentDown(t, w.tart("exec", "x", "true"))
}

func wantAgentDown(t *testing.T, r result) {
	t.Helper()
	if r.code != 1 || !strings.HasPrefix(r.err, "Failed to connect to the VM using its control socket: ") ||
		!strings.HasSuffix(r.err, ", is the Tart Guest Agent running?\n") {
		t.Errorf("exec without an agent: %+v", r)
	}
}

func TestContractRow54_exec_tty_without_one(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	w.boot("x")
	r := w.tart("exec", "-t", "x", "ls")
	if r.signal != syscall.SIGTRAP || !strings.Contains(r.err, "Fatal error") {
		t.Errorf("exec -t on a pipe: %+v, want SIGTRAP", r)
	}
}

func TestContractRow55_space_in_home(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.home = filepath.Join(w.home, "with space")
	w.env = append(os.Environ(), "TART_HOME="+w.home)
	w.linux("x")
	cmd, _, _ := w.command(t.Context(), "run", "x")
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	w.await("the socket, in the wrong place", func() bool {
		_, err := os.Stat(filepath.Join(cmd.Dir, "control.sock"))
		return err == nil
	})
	elsewhere, out, errOut := w.command(t.Context(), "exec", "x", "true")
	elsewhere.Dir = t.TempDir()
	wantAgentDown(t, w.result(elsewhere, elsewhere.Run(), out, errOut))
	beside, out, errOut := w.command(t.Context(), "exec", "x", "true")
	beside.Dir = cmd.Dir
	wantResult(t, w.result(beside, beside.Run(), out, errOut), 0, "", "")
}

func TestContractRow56_suspend(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").darwin("x")
	p := w.boot("x", "--suspendable")
	wantResult(t, w.tart("suspend", "x"), 0, "", "")
	wantResult(t, p.end(), 0, "pausing VM to take a snapshot...\ncreating a snapshot...\n"+
		"snapshot created successfully! shutting down the VM...\n", "")
	w.wantState("x", "suspended")
}

func TestContractRow57_suspend_kills(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{{"--suspendable", "--dir", "/tmp"}, nil} {
		w := newWorld(t, "").darwin("x")
		p := w.boot("x", flags...)
		wantResult(t, w.tart("suspend", "x"), 0, "", "")
		if r := p.end(); r.code != 1 || r.err != "" || !strings.Contains(r.out, "Failed to suspend the VM: ") {
			t.Errorf("run that could not be suspended: %+v", r)
		}
		w.wantState("x", "stopped")
	}
}

func TestContractRow58_suspend_of_stopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").darwin("x")
	wantResult(t, w.tart("suspend", "x"), 2, "", `VM "VM "x" is not running" is not running`)
}

func TestContractRow59_suspendable_linux(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("l")
	wantResult(t, w.tart("run", "l", "--suspendable"), 64, "", "Error: You can only suspend macOS VMs")
}

func TestContractRow60_two_clones_of_one_suspended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").suspended("seed")
	w.must("clone", "seed", "a")
	w.must("clone", "seed", "b")
	first, second := w.boot("a"), w.boot("b")
	first.signal(syscall.SIGINT)
	wantResult(t, first.end(), 0, "restoring VM state from a snapshot...\nresuming VM...\nStopping VM...\n", "")
	second.signal(syscall.SIGINT)
	wantResult(t, second.end(), 0, "There is already a running VM with the same MAC address!\n"+
		"Resetting VM to assign a new MAC address...\nStopping VM...\n", "")
	w.wantState("b", "stopped")
}

func TestContractRow61_two_unnamed_shares(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("run", "x", "--dir", "/a", "--dir", "/b"), 64, "",
		"Error: invalid --dir syntax: for multiple directory shares each one of them should be named")
	p := w.boot("x", "--dir", "/a:tag=one", "--dir", "/b:tag=two")
	p.signal(syscall.SIGINT)
	p.end()
}

func TestContractRow62_no_softnet(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("softnet"); err == nil {
		t.Skip("there is a softnet in PATH")
	}
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("run", "x", "--net-softnet"), 1, "",
		`Error: InitializationFailed(why: "softnet not found in PATH")`)
}

func TestContractRow63_two_networks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("x")
	wantResult(t, w.tart("run", "x", "--net-host", "--net-softnet-allow=10.0.0.0/8"), 64, "",
		"Error: --net-bridged, --net-softnet and --net-host are mutually exclusive")
}

func TestContractRow64_rename_to_existing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a", "b")
	wantResult(t, w.tart("rename", "a", "b"), 64, "",
		"Error: failed to rename VM a, target VM b already exists, delete it first!")
	wantResult(t, w.tart("rename", "m", "n"), 64, "", "Error: failed to rename a non-existent local VM: m")
}

func TestContractRow65_garbage_collection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("a")
	junk := w.path("tmp", "junk")
	if err := os.Mkdir(junk, 0o755); err != nil {
		t.Fatal(err)
	}
	w.must("clone", "a", "b")
	if _, err := os.Stat(junk); err != nil {
		t.Errorf("clone collected garbage: %v", err)
	}
	w.must("list")
	if _, err := os.Stat(junk); err == nil {
		t.Error("list left garbage")
	}
}

func TestContractRow66_pull_local(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "").linux("localname")
	wantResult(t, w.tart("pull", "localname"), 0, "\"localname\" is a local image, nothing to pull here!\n", "")
}

func TestContractRow67_progress(t *testing.T) {
	t.Parallel()
	for ci, want := range map[string]string{"": "\x1b[1A\r\x1b[J50%\n", "CI=1": "\n50%\n"} {
		w := newWorld(t, `{`+oneImage+`}`)
		for i, kv := range w.env {
			if strings.HasPrefix(kv, "CI=") {
				w.env[i] = "NOT_CI="
			}
		}
		w.env = append(w.env, ci)
		out := w.must("pull", "host.example/ns/img:latest")
		if !strings.Contains(out, want) || (ci != "" && strings.Contains(out, "\x1b")) {
			t.Errorf("with %q pull printed %q, want %q in it", ci, out, want)
		}
	}
}

func TestContractRow68_prune_without_criterion(t *testing.T) {
	t.Parallel()
	wantResult(t, newWorld(t, "").tart("prune"), 64, "", "Error: at least one pruning criteria must be specified")
}
