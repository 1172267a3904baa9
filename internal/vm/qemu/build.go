package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/calmenu/calmenu/internal/hint"
	"github.com/calmenu/calmenu/internal/vm"
)

// builder makes an image in dir, as root or in a user namespace: mmdebstrap -> mke2fs -d -> qcow2. Neither loop mounts
// nor a boot loader are involved.
type builder struct {
	recipe   recipe
	dir      string
	mirror   string
	lock     *os.File // inherited by the tools
	progress vm.Progress
	root     bool
}

// build returns the directory that holds the finished files.
func (b *builder) build(ctx context.Context) (string, error) {
	if err := b.preflight(); err != nil {
		return "", err
	}
	result, exported := filepath.Join(b.dir, "result"), filepath.Join(b.dir, "export")
	for _, d := range []string{result, exported} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return "", fmt.Errorf("making the image: %w", err)
		}
	}
	// A user namespace's root is another account than the caller: its work must lie where that account may go, which a
	// home directory is not.
	scratch := b.dir
	if !b.root {
		var err error
		if scratch, err = os.MkdirTemp("/var/tmp", "calmenu-build-"); err != nil {
			return "", fmt.Errorf("making the image: %w", err)
		}
		defer func() { _ = removeTree(context.WithoutCancel(ctx), scratch) }()
		if err := os.Chmod(scratch, 0o1777); err != nil {
			return "", fmt.Errorf("making the image: %w", err)
		}
		if err := needSpace(scratch, buildSpace, "building the guest image"); err != nil {
			return "", err
		}
	}
	tree := filepath.Join(scratch, "rootfs")
	if !b.root {
		tree += ".tar"
	}
	if err := b.bootstrap(ctx, scratch, tree, exported); err != nil {
		return "", err
	}
	b.progress.Report(vm.Phase{Name: "making the disk image"})
	raw := filepath.Join(scratch, "base.raw")
	if err := b.makeFileSystem(ctx, scratch, tree, raw); err != nil {
		return "", err
	}
	convert := []string{"qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, filepath.Join(result, baseFile)}
	if err := b.run(ctx, "making the disk image", nil, nil, convert...); err != nil {
		return "", err
	}
	// Read-only: no layer above may ever change it.
	if err := os.Chmod(filepath.Join(result, baseFile), 0o444); err != nil {
		return "", fmt.Errorf("making the image: %w", err)
	}
	return result, b.makeBootFiles(filepath.Join(exported, "calmenu-export"), result)
}

// preflight finds what is missing before minutes are spent.
func (b *builder) preflight() error {
	tools := []string{"mmdebstrap", "mke2fs", "qemu-img"}
	if !b.root {
		tools = append(tools, "newuidmap", "newgidmap")
	}
	for _, tool := range tools {
		if _, err := lookTool(tool); err != nil {
			return hint.Wrap(fmt.Errorf("building the guest image: program %s is not installed", tool), packageHint(tool))
		}
	}
	if b.root {
		return nil
	}
	return subordinateIDs()
}

// bootstrap unpacks and configures Debian into tree, a directory (root) or a tar file (user namespace).
func (b *builder) bootstrap(ctx context.Context, scratch, tree, exported string) error {
	mode, format := "--mode=root", "--format=directory"
	if !b.root {
		mode, format = "--mode=unshare", "--format=tar"
	}
	argv := []string{
		"mmdebstrap", mode, format, "--variant=minbase", "--verbose",
		"--architectures=amd64", "--include=" + strings.Join(b.recipe.packages, ","),
	}
	for _, filter := range pathFilters {
		argv = append(argv, "--dpkgopt="+filter)
	}
	settings, err := hostAptSettings(ctx)
	if err != nil {
		return err
	}
	for _, s := range settings {
		argv = append(argv, "--aptopt="+s)
	}
	for _, hook := range b.recipe.hooks {
		if hook == copyOut {
			hook = "copy-out /calmenu-export " + shellQuote(exported)
		}
		argv = append(argv, "--customize-hook="+hook)
	}
	argv = append(argv, suite, tree)
	sources := sourceLines(hostSources())
	if len(sources) == 0 && b.mirror != "" {
		sources = []string{b.mirror}
	}
	argv = append(argv, sources...)
	log := &buildLog{report: b.progress}
	return b.run(ctx, "building the guest image", log, []string{"TMPDIR=" + scratch}, argv...)
}

// makeFileSystem makes an ext4 image from the tree. The owner of the root directory would otherwise be whoever builds.
func (b *builder) makeFileSystem(ctx context.Context, scratch, tree, raw string) error {
	mkfs := []string{
		"mke2fs", "-q", "-t", "ext4", "-L", "calmenu", "-m", "0",
		"-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0", "-J", "size=64",
	}
	size := strconv.Itoa(imageGiB) + "G"
	if b.root {
		argv := append(mkfs, "-d", tree, raw, size)
		if err := b.run(ctx, "making the file system", nil, nil, argv...); err != nil {
			return err
		}
		return removeTree(ctx, tree)
	}
	// Device nodes cannot be made in a user namespace and are not needed: the guest's kernel provides them.
	const script = `set -e; cd "$1"; mkdir r; tar -C r --exclude='./dev/*' -xpf "$2"; shift 2; "$@"; chmod 0644 base.raw
rm -rf r`
	argv := []string{"mmdebstrap", "--unshare-helper", "sh", "-c", script, "sh", scratch, tree}
	argv = append(append(argv, mkfs...), "-d", "r", "base.raw", size)
	if err := os.Chmod(tree, 0o644); err != nil {
		return fmt.Errorf("making the file system: %w", err)
	}
	return b.run(ctx, "making the file system", nil, nil, argv...)
}

// makeBootFiles turns what the hooks exported into what QEMU boots.
func (b *builder) makeBootFiles(exported, result string) error {
	packed, err := os.ReadFile(filepath.Join(exported, "vmlinuz"))
	if err != nil {
		return fmt.Errorf("taking the kernel from the image: %w", err)
	}
	kernel := packed
	if !b.recipe.stock {
		// A kernel packed in a way this program does not know boots as it is, half a second later.
		if unpacked, err := uncompressedKernel(packed); err == nil {
			kernel = unpacked
		}
	}
	if err := os.WriteFile(filepath.Join(result, kernelFile), kernel, 0o644); err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	registries, err := os.ReadFile(filepath.Join(exported, registriesFile))
	if err != nil {
		return fmt.Errorf("taking the registries from the image: %w", err)
	}
	if err := os.WriteFile(filepath.Join(result, registriesFile), registries, 0o644); err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	if b.recipe.stock {
		initrd, err := os.ReadFile(filepath.Join(exported, "initrd.img"))
		if err != nil {
			return fmt.Errorf("taking the initrd from the image: %w", err)
		}
		return os.WriteFile(filepath.Join(result, initrdFile), initrd, 0o644)
	}
	var archive bytes.Buffer
	if err := writeModules(&archive, filepath.Join(exported, "modules")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(result, modulesFile), archive.Bytes(), 0o644)
}

// writeModules writes the archive of kernel modules; their names sort in loading order.
func writeModules(w io.Writer, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("taking the modules from the image: there are none")
	}
	sort.Strings(files)
	c := newCPIO(w)
	c.dir("modules", 0o755, 0, 0)
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("taking the modules from the image: %w", err)
		}
		c.file("modules/"+filepath.Base(name), 0o644, 0, 0, data)
	}
	return c.close()
}

// run runs a build tool. When ctx ends it gets SIGTERM, on which mmdebstrap removes what it mounted and made; in
// namespaces of its own it can be killed at once.
func (b *builder) run(ctx context.Context, step string, log *buildLog, env []string, argv ...string) error {
	if log == nil {
		log = &buildLog{}
	}
	argv, end, err := b.contain(argv)
	if err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), toolEnv(os.Environ())...), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if b.lock != nil {
		cmd.ExtraFiles = []*os.File{b.lock}
	}
	// The signal at this process's death is in truth one at the death of the thread that started the tool.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, end) }
	cmd.WaitDelay = 20 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", step, context.Cause(ctx))
	}
	if err != nil {
		return log.explain(step, err)
	}
	return nil
}

// contain returns the command line to run a tool by, and the signal that ends it. As root, mmdebstrap mounts in the
// caller's namespace, and after a crash its mounts would stay. In namespaces of its own they go with its processes, and
// those with this one.
func (b *builder) contain(argv []string) ([]string, syscall.Signal, error) {
	path, err := lookTool(argv[0])
	if err != nil {
		return nil, 0, hint.Wrap(err, packageHint(argv[0]))
	}
	tool := append([]string{path}, argv[1:]...)
	if !b.root || argv[0] != "mmdebstrap" {
		return tool, syscall.SIGTERM, nil
	}
	unshare, err := lookTool("unshare")
	if err != nil {
		return nil, 0, hint.Wrap(err, packageHint("unshare"))
	}
	own := []string{unshare, "--mount", "--pid", "--mount-proc", "--kill-child", "--"}
	return append(own, tool...), syscall.SIGKILL, nil
}

// removeTree removes a build directory. Processes killed just before may still be ending in it. What a user namespace's
// root made needs that root to be removed.
func removeTree(ctx context.Context, dir string) error {
	err := os.RemoveAll(dir)
	for tries := 0; err != nil && tries < 50 && !errors.Is(err, fs.ErrPermission); tries++ {
		if pause(ctx, 100*time.Millisecond) != nil {
			return err
		}
		err = os.RemoveAll(dir)
	}
	if err == nil || os.Geteuid() == 0 || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	out, helperErr := exec.CommandContext(ctx, "mmdebstrap", "--unshare-helper", "rm", "-rf", "--", dir).CombinedOutput()
	if err = os.RemoveAll(dir); err != nil && helperErr != nil {
		return fmt.Errorf("%w: %s", err, lastLine(out))
	}
	return err
}

// shellQuote quotes a word for mmdebstrap's special hooks, which split their arguments as a shell does.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
