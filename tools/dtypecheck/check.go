package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// result is what a check found.
type result struct {
	packages, own, files int
	problems             []string // sorted, each once
}

// checker checks packages, each as soon as what it imports is done.
type checker struct {
	target
	fset  *token.FileSet
	sizes types.Sizes
	byID  map[string]*pkg
	slots chan struct{} // bounds how many packages are worked on at a time

	mu       sync.Mutex // guards problems
	problems []string
}

// check type-checks pkgs, which must hold everything they import.
func check(t target, pkgs []*pkg) result {
	c := &checker{
		target: t,
		fset:   token.NewFileSet(),
		sizes:  types.SizesFor("gc", t.arch),
		byID:   make(map[string]*pkg, len(pkgs)),
		slots:  make(chan struct{}, runtime.NumCPU()),
	}
	for _, p := range pkgs {
		c.byID[p.ImportPath] = p
	}
	for _, p := range pkgs {
		go c.check(p)
	}
	r := result{packages: len(pkgs)}
	for _, p := range pkgs {
		<-p.done
		r.files += len(p.files)
		if p.own {
			r.own++
		}
	}
	// A package and its test variant share files, and so errors.
	slices.Sort(c.problems)
	r.problems = slices.Compact(c.problems)
	return r
}

func (c *checker) check(p *pkg) {
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
			p.files = append(p.files, file)
		}
	}
	conf := types.Config{
		FakeImportC:      true, // names under C. need a C compiler and headers
		IgnoreFuncBodies: !p.own && (p.Standard || !c.depBodies),
		Importer:         importer{c, p},
		Sizes:            c.sizes,
		Error:            func(err error) { c.report(p, err.Error()) },
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	path, _, _ := strings.Cut(p.ImportPath, " ") // "path [path.test]" is a variant of path
	// The error is the first of those that went to conf.Error.
	p.checked, _ = conf.Check(path, c.fset, p.files, nil)
}

func (c *checker) report(p *pkg, problem string) {
	if !p.own {
		problem = "dependency: " + problem
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, problem)
}

// importer resolves the imports of one package to packages that are already checked.
type importer struct {
	c *checker
	p *pkg
}

func (i importer) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	q := i.c.byID[i.p.imported(path)]
	if q == nil || q.checked == nil {
		return nil, fmt.Errorf("package %s is not there for %s/%s", path, i.c.os, i.c.arch)
	}
	return q.checked, nil
}
