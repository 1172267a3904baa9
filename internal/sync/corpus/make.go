package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Place is where the cases are made.
type Place struct {
	Outbox    string // directory
	Elsewhere string // a file outside of it, on the same file system
	Secret    string // a file that must not be read
}

// Build makes a case on this machine.
func (c Case) Build(p Place) error {
	for _, op := range c.Make {
		if err := op.build(p); err != nil {
			return fmt.Errorf("making %s: %w", c.What, err)
		}
	}
	return nil
}

func (op Op) build(p Place) error {
	at := filepath.Join(p.Outbox, op.Path)
	if strings.HasSuffix(op.Path, " ") || op.Path != filepath.Clean(op.Path) {
		at = p.Outbox + "/" + op.Path
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	switch op.Kind {
	case File:
		return os.WriteFile(at, []byte(op.Path), 0o644)
	case Empty:
		return os.WriteFile(at, nil, 0o644)
	case Hole:
		if err := os.WriteFile(at, []byte("x"), 0o644); err != nil {
			return err
		}
		return os.Truncate(at, op.Size)
	case Dir:
		return os.MkdirAll(at, 0o755)
	case Link:
		return os.Symlink(strings.ReplaceAll(op.Target, Secret, p.Secret), at)
	case Hard:
		from := filepath.Join(p.Outbox, op.Target)
		if op.Target == Elsewhere {
			from = p.Elsewhere
		}
		return os.Link(from, at)
	case Fifo:
		return syscall.Mkfifo(at, 0o644)
	case Socket:
		return syscall.Mknod(at, syscall.S_IFSOCK|0o644, 0)
	case Device:
		return syscall.Mknod(at, syscall.S_IFCHR|0o644, 1<<8|5)
	case Chmod:
		return syscall.Chmod(at, op.Mode)
	}
	ts := []syscall.Timespec{{Sec: op.Sec}, {Sec: op.Sec}}
	return syscall.UtimesNano(at, ts)
}

// Script is a program for /bin/sh that makes all cases in a guest, below its working directory's outbox. It prints what it
// could not make.
func Script(cases []Case, p Place) string {
	var b strings.Builder
	fmt.Fprintf(&b, "mkdir -p %s; echo elsewhere >%s\n", quote(p.Outbox), quote(p.Elsewhere))
	for _, c := range cases {
		b.WriteString("(set -e\n")
		for _, op := range c.Make {
			op.script(&b, p)
		}
		fmt.Fprintf(&b, ") 2>/dev/null || echo %s\n", quote(c.What))
	}
	return b.String()
}

func (op Op) script(b *strings.Builder, p Place) {
	at := p.Outbox + "/" + op.Path
	q := quote(at)
	if i := strings.LastIndexByte(at, '/'); i > 0 {
		fmt.Fprintf(b, "mkdir -p %s\n", quote(at[:i]))
	}
	switch op.Kind {
	case File:
		fmt.Fprintf(b, "printf %%s %s >%s\n", quote(op.Path), q)
	case Empty:
		fmt.Fprintf(b, ": >%s\n", q)
	case Hole:
		fmt.Fprintf(b, "printf x >%s; truncate -s %d -- %s\n", q, op.Size, q)
	case Dir:
		fmt.Fprintf(b, "mkdir -p %s\n", q)
	case Link:
		fmt.Fprintf(b, "ln -s -- %s %s\n", quote(strings.ReplaceAll(op.Target, Secret, p.Secret)), q)
	case Hard:
		from := p.Outbox + "/" + op.Target
		if op.Target == Elsewhere {
			from = p.Elsewhere
		}
		fmt.Fprintf(b, "ln -- %s %s\n", quote(from), q)
	case Fifo:
		fmt.Fprintf(b, "mkfifo -- %s\n", q)
	case Socket:
		fmt.Fprintf(b, "python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' %s\n", q)
	case Device:
		fmt.Fprintf(b, "sudo -n mknod -- %s c 1 5\n", q)
	case Chmod:
		fmt.Fprintf(b, "chmod %o -- %s\n", op.Mode, q)
	case Aged:
		fmt.Fprintf(b, "touch -d @%d -- %s\n", op.Sec, q)
	}
}

// quote makes a word of the shell's.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
