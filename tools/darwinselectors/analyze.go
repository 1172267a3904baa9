package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/calmenu/calmenu/tools/darwintypes"
)

const (
	darwinkit = "github.com/progrium/darwinkit"
	objc      = darwinkit + "/objc"
	systray   = "fyne.io/systray"
)

// findings are what own code does with Cocoa.
type findings struct {
	sends         []send
	selectors     []use // that are handed on, not sent
	classes       []use
	notifications []use
	frameworks    []use
	unpooled      []use // functions that send messages without an autorelease pool and that nothing in own code calls
	withC         []use // packages with C or Objective-C of their own
	problems      []string
}

// use is a string that names something of Cocoa's.
type use struct{ name, folder, pos string }

// send is a message that own code sends, itself or through a binding of darwinkit's.
type send struct {
	use           // name is the selector
	via    string // the binding, "" for own code
	class  string // of the receiver as darwinkit knows it, "" if it does not
	result types.Type
	args   []argument
}

type argument struct {
	typ types.Type
	nil bool
}

// analyzer follows own code into darwinkit's bindings.
type analyzer struct {
	findings
	root     string // of the module
	fset     *token.FileSet
	decls    map[*types.Func]declared
	wrappers map[*types.Func]map[int]string // own functions whose parameter names something: selector, class, ...
	grown    bool                           // a wrapper was found in this round
	calls    map[*types.Func][]call         // between own functions, and from them to messages
	called   map[*types.Func]bool
}

type declared struct {
	pkg  *darwintypes.Package
	decl *ast.FuncDecl
}

// call is that a function calls another, or sends a message (callee is nil).
type call struct {
	callee *types.Func
	pos    string
	pooled bool
}

// analyze reads the packages of the module in dir that import darwinkit or systray, as macOS compiles them.
func analyze(ctx context.Context, dir string) (*findings, error) {
	root, patterns, err := natives(ctx, dir)
	if err != nil {
		return nil, err
	}
	target := darwintypes.Target{
		OS: "darwin", Arch: "arm64", Patterns: patterns, Dir: dir,
		Bodies: func(path string) bool { return strings.HasPrefix(path, darwinkit+"/") },
	}
	pkgs, err := darwintypes.Load(ctx, target)
	if err != nil {
		return nil, err
	}
	result := darwintypes.Check(target, pkgs)
	if len(result.Problems) > 0 {
		return nil, fmt.Errorf("type check: %s", strings.Join(result.Problems, "\n"))
	}
	a := &analyzer{root: root, fset: result.Fset, decls: map[*types.Func]declared{}, wrappers: map[*types.Func]map[int]string{}}
	var own []*darwintypes.Package
	for _, p := range pkgs {
		if p.Info == nil {
			continue
		}
		for _, file := range p.Files {
			for _, d := range file.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
					a.decls[p.Info.Defs[fn.Name].(*types.Func)] = declared{p, fn}
				}
			}
		}
		if p.Own && slices.Contains(patterns, p.ImportPath) {
			own = append(own, p)
		}
	}
	// Each round may find that a function hands its parameter on, which is then followed to its callers.
	for a.grown = true; a.grown; {
		a.grown = false
		a.findings = findings{}
		a.calls, a.called = map[*types.Func][]call{}, map[*types.Func]bool{}
		for _, p := range own {
			a.walkPackage(p)
		}
	}
	a.pools()
	return &a.findings, nil
}

// natives lists the packages of the module in dir that import darwinkit or systray, and the module's folder.
func natives(ctx context.Context, dir string) (root string, packages []string, err error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-f", `{{.Module.Dir}} {{.ImportPath}} {{join .Imports " "}}`, "./...")
	if dir == "" {
		cmd.Args = append(cmd.Args[:len(cmd.Args)-1], "github.com/calmenu/calmenu/...")
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=1")
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return "", nil, fmt.Errorf("listing packages: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		root = fields[0]
		if slices.ContainsFunc(fields[2:], func(i string) bool {
			return strings.HasPrefix(i, darwinkit+"/") || i == systray
		}) && !strings.HasPrefix(fields[1], darwinkit) {
			packages = append(packages, fields[1])
		}
	}
	if len(packages) == 0 { // a check of nothing must not look like success
		return "", nil, errors.New("listing packages: none imports darwinkit")
	}
	return root, packages, nil
}

func (a *analyzer) at(pos token.Pos) string {
	p := a.fset.Position(pos)
	if rel, err := filepath.Rel(a.root, p.Filename); err == nil {
		p.Filename = filepath.ToSlash(rel)
	}
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

func (a *analyzer) use(name string, pos token.Pos) use {
	at := a.at(pos)
	return use{name, path.Dir(at), at}
}

func (a *analyzer) problem(pos token.Pos, format string, args ...any) {
	a.problems = append(a.problems, a.at(pos)+": "+fmt.Sprintf(format, args...))
}

// callee returns the function that a call calls, nil if it is a value, a conversion or built in.
func callee(info *types.Info, c *ast.CallExpr) *types.Func {
	fun := ast.Unparen(c.Fun)
	switch f := fun.(type) {
	case *ast.IndexExpr:
		fun = f.X
	case *ast.IndexListExpr:
		fun = f.X
	}
	var id *ast.Ident
	switch f := fun.(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	default:
		return nil
	}
	if fn, ok := info.Uses[id].(*types.Func); ok {
		return fn.Origin()
	}
	return nil
}

// concrete returns the method that fn stands for if it belongs to one of darwinkit's interfaces: that of IAlert is
// implemented by Alert.
func concrete(fn *types.Func) *types.Func {
	recv := fn.Signature().Recv()
	if recv == nil || !types.IsInterface(recv.Type()) {
		return fn
	}
	named, ok := recv.Type().(*types.Named)
	if !ok {
		return fn
	}
	t := named.Obj().Pkg().Scope().Lookup(strings.TrimPrefix(named.Obj().Name(), "I"))
	if t == nil {
		return fn
	}
	if m, _, _ := types.LookupFieldOrMethod(t.Type(), true, t.Pkg(), fn.Name()); m != nil {
		if method, ok := m.(*types.Func); ok {
			return method
		}
	}
	return fn
}

// binding says whether fn is one of darwinkit's bindings: in its package objc, messages are what is passed in.
func binding(fn *types.Func) bool {
	p := fn.Pkg()
	return p != nil && strings.HasPrefix(p.Path(), darwinkit+"/macos/")
}

func named(fn *types.Func, pkg string, names ...string) bool {
	return fn != nil && fn.Pkg() != nil && fn.Pkg().Path() == pkg && slices.Contains(names, fn.Name())
}

// className returns the Objective-C class of a type of darwinkit's, "" if darwinkit does not know it either.
func className(t types.Type) string {
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return ""
	}
	prefix, ok := map[string]string{"foundation": "NS", "appkit": "NS"}[n.Obj().Pkg().Name()]
	if !ok {
		return ""
	}
	name := n.Obj().Name()
	if types.IsInterface(t) {
		name = strings.TrimPrefix(name, "I")
	}
	if class, ok := strings.CutPrefix(name, "_"); ok { // _AlertClass is NSAlert itself
		name = strings.TrimSuffix(class, "Class")
	}
	return prefix + name
}
