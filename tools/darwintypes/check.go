package darwintypes

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Result is what a check found.
type Result struct {
	Packages, Own, Files int
	Problems             []string // sorted, each once
	Fset                 *token.FileSet
}

// checker checks packages, each as soon as what it imports is done.
type checker struct {
	Target
	fset  *token.FileSet
	sizes types.Sizes
	byID  map[string]*Package
	slots chan struct{} // bounds how many packages are worked on at a time

	mu       sync.Mutex // guards problems
	problems []string
}

// Check type-checks pkgs, which must hold everything they import.
func Check(t Target, pkgs []*Package) Result {
	c := &checker{
		Target: t,
		fset:   token.NewFileSet(),
		sizes:  types.SizesFor("gc", t.Arch),
		byID:   make(map[string]*Package, len(pkgs)),
		slots:  make(chan struct{}, runtime.NumCPU()),
	}
	for _, p := range pkgs {
		c.byID[p.ImportPath] = p
	}
	for _, p := range pkgs {
		go c.check(p)
	}
	r := Result{Packages: len(pkgs), Fset: c.fset}
	for _, p := range pkgs {
		<-p.done
		r.Files += len(p.Files)
		if p.Own {
			r.Own++
		}
	}
	// A package and its test variant share files, and so errors.
	slices.Sort(c.problems)
	r.Problems = slices.Compact(c.problems)
	return r
}

func (c *checker) check(p *Package) {
	defer close(p.done)
	for _, i := range p.Imports {
		if q := c.byID[p.imported(i)]; q != nil && q != p {
			<-q.done
		}
	}
	c.slots <- struct{}{}
	defer func() { <-c.slots }()

	if p.Error != nil {
		c.report(p, p.Error.Pos+": "+p.Error.Err)
	}
	for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(p.Dir, name)
		}
		file, err := parser.ParseFile(c.fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			c.report(p, err.Error())
		}
		if file != nil {
			p.Files = append(p.Files, file)
		}
	}
	path, _, _ := strings.Cut(p.ImportPath, " ") // "path [path.test]" is a variant of path
	bodies := p.Own || c.DepBodies && !p.Standard || c.Bodies != nil && c.Bodies(path)
	conf := types.Config{
		FakeImportC:      true, // names under C. need a C compiler and headers
		IgnoreFuncBodies: !bodies,
		Importer:         importer{c, p},
		Sizes:            c.sizes,
		Error:            func(err error) { c.report(p, err.Error()) },
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	if bodies {
		p.Info = &types.Info{
			Types:      map[ast.Expr]types.TypeAndValue{},
			Defs:       map[*ast.Ident]types.Object{},
			Uses:       map[*ast.Ident]types.Object{},
			Selections: map[*ast.SelectorExpr]*types.Selection{},
			Instances:  map[*ast.Ident]types.Instance{},
		}
	}
	// The error is the first of those that went to conf.Error.
	p.Checked, _ = conf.Check(path, c.fset, p.Files, p.Info)
}

func (c *checker) report(p *Package, problem string) {
	if !p.Own {
		problem = "dependency: " + problem
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, problem)
}

// importer resolves the imports of one package to packages that are already checked.
type importer struct {
	c *checker
	p *Package
}

func (i importer) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	q := i.c.byID[i.p.imported(path)]
	if q == nil || q.Checked == nil {
		return nil, fmt.Errorf("package %s is not there for %s/%s", path, i.c.OS, i.c.Arch)
	}
	return q.Checked, nil
}
