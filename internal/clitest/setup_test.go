package clitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/app"
	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/vm/qemu"
	"github.com/calmenu/calmenu/internal/vm/vmtest"
)

// script is the double's: one macOS image can be pulled.
const script = `{"registry": {"ghcr.io/cirruslabs/macos-sequoia-base:latest": {"os": "darwin", "disk_gb": 50}}}`

// The double's guest is a sandbox on this host: it would reach the host, and the check of that would say so, rightly.
// This curl is what one in a guest cut off from everything does: account for each attempt, none of which succeeds.
const sealedCurl = `#!/bin/sh
for a; do case "$a" in http://*/*/*) printf '7 000 %s\n' "$a";; esac; done
exit 7
`

// What is installed beside Tart to cut guests off; the double asks only whether it is there.
const softnet = "#!/bin/sh\nexec sleep infinity\n"

// surroundings are what CALMenu finds in its environment: a script's, or another test's.
type surroundings interface {
	Getenv(key string) string
	Setenv(key, value string)
}

func setUp(dir string, e surroundings) error {
	for _, sub := range []string{"home", "cal", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	for k, v := range map[string]string{
		"HOME":     filepath.Join(dir, "home"),
		"CAL_HOME": filepath.Join(dir, "cal"),
		"OUTPUT":   filepath.Join(dir, "home", "cal-output"),
		"PATH":     filepath.Join(dir, "bin") + string(os.PathListSeparator) + e.Getenv("PATH"),
		"TERM":     "xterm-256color",
		"GORACE":   "atexit_sleep_ms=0 halt_on_error=1",
	} {
		e.Setenv(k, v)
	}
	return nil
}

func setUpTart(dir string, e surroundings) error {
	if err := setUp(dir, e); err != nil {
		return err
	}
	program, err := double()
	if err != nil {
		return err
	}
	home := filepath.Join(dir, "tart")
	if err := os.Mkdir(home, 0o755); err != nil {
		return err
	}
	for file, content := range map[string]string{
		"tart/double.json": script, "bin/curl": sealedCurl, "bin/softnet": softnet,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o755); err != nil {
			return err
		}
	}
	e.Setenv("CAL_DRIVER", "tart")
	e.Setenv("CAL_TART", program)
	e.Setenv("TART_HOME", home)
	e.Setenv("TART_DOUBLE_SCALE", "0.02") // fifty times faster than tart
	if os.Geteuid() != 0 {
		return nil
	}
	e.Setenv(ordinaryUser, strconv.Itoa(nobody))
	// Root's PATH may lead where nobody else may go, which changes what a shell says of a program that is not there.
	own, err := exec.LookPath("CALMenu")
	if err != nil {
		return err
	}
	if err := os.Chmod(filepath.Dir(filepath.Dir(own)), 0o755); err != nil {
		return err
	}
	e.Setenv("PATH", strings.Join([]string{
		filepath.Join(dir, "bin"), filepath.Dir(own), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin",
	}, ":"))
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
}

// template has new machines of the size that most scripts make start as copies of one that has booted. A script of other
// sizes sets CAL_VM_TEMPLATE=off: making its template would compete with what is tested.
func template(cache string) error {
	machines := qemu.New(qemu.Options{Dir: filepath.Join(root, "none"), CacheDir: cache, Common: app.CommonFiles})
	return vmtest.Ready(context.Background(), machines, vmtest.Size)
}

func setUpQEMU(dir string, e surroundings) error {
	if err := setUp(dir, e); err != nil {
		return err
	}
	// The image is the user's own, and built only if there is none: CALMenu and other tests use the same.
	cache := os.Getenv("CAL_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		cache = filepath.Join(user, "calmenu")
	}
	e.Setenv("CAL_CACHE", cache)
	e.Setenv("CAL_DRIVER", "qemu")
	if err := template(cache); err != nil {
		return err
	}
	// The guest may reach the registries this host is set up for; HOME, where npm is told of its own, is another one here.
	out, err := exec.Command("npm", "config", "get", "registry").Output()
	if err != nil {
		return fmt.Errorf("asking npm for its registry: %w", err)
	}
	e.Setenv("npm_config_registry", strings.TrimSpace(string(out)))
	return nil
}

// logged shows what CALMenu's processes last wrote down in a script, for one that fails.
func logged(dir string, log func(args ...any)) {
	home := config.Home{Dir: filepath.Join(dir, "cal")}
	for _, file := range []string{
		filepath.Join(home.LogsDir(), "calmenu.log"), filepath.Join(home.LogsDir(), "keeper.log"),
		filepath.Join(home.JournalDir(), "events.jsonl"),
	} {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		const most = 8 << 10
		log(fmt.Sprintf("%s (%v):\n%s", filepath.Base(file), err, text[max(0, len(text)-most):]))
	}
}

// endLeftovers ends the machines a script that failed left running, by the directory they belong to.
func endLeftovers(dir string, log func(args ...any)) {
	if runtime.GOOS != "linux" {
		return
	}
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := processesOf(dir)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			log(fmt.Sprintf("processes %v do not end", left))
			return
		}
	}
}

// processesOf lists the processes that work in dir or were told of it.
func processesOf(dir string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		environ, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if strings.HasPrefix(cwd+"/", dir+"/") || bytes.Contains(environ, []byte("WORK="+dir+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
