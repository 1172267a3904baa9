// Command darwinsdk writes what a cross-compiler needs to compile and link CALMenu for macOS without Apple's SDK, and
// prints the compiler's command line, for the CC of the go command.
//
//	darwinsdk -out FOLDER [-arch arm64|amd64] [-clang clang]
//
// The folder holds headers (include/ of this folder: declarations of what darwinkit, systray and Go's runtime use, by
// hand), a declaration of each protocol that darwinkit names, and text-based stubs of the libraries (.tbd) that export
// what is listed in symbols/ and what Go's standard library says it takes, and nothing else. So a name that nobody
// reviewed ends the compiler or the linker, and -undefined dynamic_lookup is never needed.
//
// What is linked so is for checking, never for shipping: nothing here says what a Mac's libraries really export.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var out, arch, clang string
	flags := flag.NewFlagSet("darwinsdk", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&out, "out", "", "folder to write")
	flags.StringVar(&arch, "arch", "arm64", "processor to print the command line for (GOARCH)")
	flags.StringVar(&clang, "clang", "clang", "the compiler")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || out == "" {
		flags.Usage()
		return 2
	}
	cc, err := generate(ctx, out, arch, clang)
	if err != nil {
		fmt.Fprintf(stderr, "darwinsdk: %v\n", err)
		return 1
	}
	fmt.Fprintln(stdout, cc)
	return 0
}

// generate writes the SDK for the program in this module and returns the compiler's command line.
func generate(ctx context.Context, out, arch, clang string) (string, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return "", fmt.Errorf("writing the SDK: %w", err)
	}
	// The imports first: a module has a folder once something in it is asked for, which on Linux nothing else does.
	imports, err := goImports(ctx, arch)
	if err != nil {
		return "", err
	}
	darwinkit, err := goList(ctx, arch, "-m", "-f", "{{.Dir}}", "github.com/progrium/darwinkit")
	if err != nil {
		return "", err
	}
	headers, err := headers(darwinkit)
	if err != nil {
		return "", err
	}
	stubs, err := stubs(imports)
	if err != nil {
		return "", err
	}
	if err := replace(out, headers, stubs); err != nil {
		return "", err
	}
	return compiler(clang, arch, out, digest(headers))
}

// compiler returns the command line that compiles for a processor with the SDK in a folder. The digest of the headers
// is part of it because the go command does not look into a system's headers to know what must be compiled again.
func compiler(clang, arch, sdk, digest string) (string, error) {
	target, ok := map[string]string{"arm64": "arm64", "amd64": "x86_64"}[arch]
	if !ok {
		return "", fmt.Errorf("compiling for %s: macOS runs on arm64 and amd64", arch)
	}
	if strings.ContainsAny(sdk, " '\"") {
		return "", fmt.Errorf("compiling with the SDK in %q: the go command splits CC at blanks", sdk)
	}
	return strings.Join([]string{
		clang,
		"-target " + target + "-apple-macos" + minimumOS,
		"-isysroot " + sdk,
		"-nostdlibinc", // the host's headers must not fill gaps
		"-isystem " + filepath.Join(sdk, "usr", "include"),
		"-DCALMENU_SDK=" + digest,
		"-Wno-unused-command-line-argument",
		// A message that no header declares is a misspelt selector, not a warning.
		"-Werror=objc-method-access -Werror=implicit-function-declaration -Werror=incompatible-pointer-types",
		"-fuse-ld=lld",
	}, " "), nil
}

// goList runs go list as for macOS with cgo.
func goList(ctx context.Context, arch string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH="+arch, "CGO_ENABLED=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("listing packages: %w\n%s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
