package main

import (
	"go/ast"
	"go/constant"
	"go/types"
	"slices"
	"strings"

	"github.com/calmenu/calmenu/tools/darwintypes"
)

// Kinds of names, for wrappers.
const (
	kindSelector     = "selector"
	kindClass        = "class"
	kindNotification = "notification"
	kindFramework    = "framework"
)

// scope is where a walk is.
type scope struct {
	info   *types.Info
	fn     *types.Func // nil outside of functions
	body   ast.Node
	pooled bool
}

func (a *analyzer) walkPackage(p *darwintypes.Package) {
	if len(p.CgoFiles) > 0 {
		a.withC = append(a.withC, a.use(strings.TrimPrefix(p.ImportPath, "github.com/calmenu/calmenu/"), p.Files[0].Pos()))
	}
	for _, file := range p.Files {
		for _, d := range file.Decls {
			s := scope{info: p.Info, body: d}
			if fn, ok := d.(*ast.FuncDecl); ok {
				s.fn = p.Info.Defs[fn.Name].(*types.Func)
			}
			a.walk(s, d)
		}
	}
}

// walk records what is reached below n.
func (a *analyzer) walk(s scope, n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt: // a goroutine has no pool, wherever it was started
			unpooled := s
			unpooled.pooled = false
			a.walk(unpooled, n.Call)
			return false
		case *ast.CallExpr:
			return a.call(s, n)
		case *ast.Ident:
			switch o := s.info.Uses[n].(type) {
			case *types.Func:
				a.reference(s, n, o.Origin())
			case *types.TypeName:
				a.typeRule(n, o)
			}
		}
		return true
	})
}

// call records a call and says whether its parts are still to be walked.
func (a *analyzer) call(s scope, c *ast.CallExpr) bool {
	if t, ok := s.info.Types[c.Fun]; ok && t.IsType() {
		if isNotificationName(t.Type) && len(c.Args) == 1 {
			a.name(s, kindNotification, c.Args[0])
		}
		return true
	}
	fn := callee(s.info, c)
	if fn == nil {
		return true
	}
	switch {
	case named(fn, objc, "Call"):
		a.message(s, c)
		for _, arg := range append([]ast.Expr{c.Args[0]}, c.Args[2:]...) { // the selector is accounted for
			a.walk(s, arg)
		}
		return false
	case named(fn, objc, "Sel", "RegisterSelectorName"):
		a.name(s, kindSelector, c.Args[0])
	case named(fn, objc, "GetClass"):
		a.name(s, kindClass, c.Args[0])
	case fn.Name() == "Bundle_BundleWithPath":
		if sum, ok := c.Args[0].(*ast.BinaryExpr); ok {
			a.name(s, kindFramework, middle(sum))
		}
	}
	for index, kind := range a.wrappers[fn] {
		if index < len(c.Args) {
			if kind == kindSelector {
				a.wrapped(s, fn, c, index)
			} else {
				a.name(s, kind, c.Args[index])
			}
		}
	}
	a.callRule(s, c, fn)
	// A function given to WithAutoreleasePool has a pool, and so has one that AppKit's loop calls.
	served := named(fn, objc, "WithAutoreleasePool") ||
		fn.Pkg() != nil && strings.HasSuffix(fn.Pkg().Path(), "/desktop/cocoa") &&
			(fn.Name() == "OnMain" || fn.Name() == "Observe")
	if !served {
		return true
	}
	inner := s
	inner.pooled = true
	for _, arg := range c.Args {
		if _, ok := arg.(*ast.FuncLit); ok {
			a.walk(inner, arg)
		} else {
			a.walk(s, arg)
		}
	}
	a.walk(s, c.Fun)
	return false
}

// middle returns what is neither the first nor the last text of a sum of strings: what is inserted.
func middle(sum *ast.BinaryExpr) ast.Expr {
	if left, ok := sum.X.(*ast.BinaryExpr); ok {
		return left.Y
	}
	return sum.Y
}

// reference records that own code uses a function: a binding's messages are sent on its behalf.
func (a *analyzer) reference(s scope, n *ast.Ident, fn *types.Func) {
	a.functionRule(n, fn)
	fn = concrete(fn)
	if binding(fn) {
		sends := a.bindingSends(fn, map[*types.Func]bool{})
		for _, b := range sends {
			b.folder, b.pos = a.use("", n.Pos()).folder, a.at(n.Pos())
			b.via = fn.Name()
			a.sends = append(a.sends, b)
		}
		if len(sends) > 0 && s.fn != nil {
			a.calls[s.fn] = append(a.calls[s.fn], call{pos: a.at(n.Pos()), pooled: s.pooled})
		}
		return
	}
	if d, ok := a.decls[fn]; ok && d.pkg.Own && s.fn != nil {
		a.calls[s.fn] = append(a.calls[s.fn], call{callee: fn, pos: a.at(n.Pos()), pooled: s.pooled})
		a.called[fn] = true
	}
}

// bindingSends returns the messages that a binding sends, itself and through others.
func (a *analyzer) bindingSends(fn *types.Func, seen map[*types.Func]bool) []send {
	d, ok := a.decls[fn]
	if !ok || seen[fn] {
		return nil
	}
	seen[fn] = true
	var all []send
	ast.Inspect(d.decl.Body, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := callee(d.pkg.Info, c); {
		case f == nil:
		case named(f, objc, "Call"):
			all = append(all, a.sent(d.pkg.Info, c, constants(d.pkg.Info, c.Args[1].(*ast.CallExpr).Args[0])[0]))
		case binding(f):
			all = append(all, a.bindingSends(concrete(f), seen)...)
		}
		return true
	})
	return all
}

// message records an objc.Call of own code.
func (a *analyzer) message(s scope, c *ast.CallExpr) {
	if s.fn != nil {
		a.calls[s.fn] = append(a.calls[s.fn], call{pos: a.at(c.Pos()), pooled: s.pooled})
	}
	sel, ok := ast.Unparen(c.Args[1]).(*ast.CallExpr)
	if !ok || !named(callee(s.info, sel), objc, "Sel") {
		a.problem(c.Pos(), "the selector of objc.Call is not an objc.Sel of a string")
		return
	}
	for _, selector := range a.resolve(s, kindSelector, sel.Args[0]) {
		m := a.sent(s.info, c, selector)
		m.use = a.use(selector, c.Pos())
		a.sends = append(a.sends, m)
	}
}

// sent describes an objc.Call.
func (a *analyzer) sent(info *types.Info, c *ast.CallExpr, selector string) send {
	m := send{use: use{name: selector}, class: className(info.TypeOf(c.Args[0]))}
	if index, ok := ast.Unparen(c.Fun).(*ast.IndexExpr); ok {
		m.result = info.TypeOf(index.Index)
	}
	for _, arg := range c.Args[2:] {
		m.args = append(m.args, argument{info.TypeOf(arg), info.Types[arg].IsNil()})
	}
	return m
}

// wrapped records a message sent by way of an own function that takes the selector: the receiver before it, the
// arguments after it. The function answers a bool, read through eight bytes (resultRule sees to that).
func (a *analyzer) wrapped(s scope, fn *types.Func, c *ast.CallExpr, index int) {
	for _, selector := range a.resolve(s, kindSelector, c.Args[index]) {
		m := send{use: a.use(selector, c.Pos()), via: fn.Name(), result: types.Typ[types.Uint64]}
		if index > 0 {
			m.class = className(s.info.TypeOf(c.Args[index-1]))
		}
		for _, arg := range c.Args[index+1:] {
			m.args = append(m.args, argument{s.info.TypeOf(arg), s.info.Types[arg].IsNil()})
		}
		a.sends = append(a.sends, m)
	}
	if s.fn != nil {
		a.calls[s.fn] = append(a.calls[s.fn], call{pos: a.at(c.Pos()), pooled: s.pooled})
	}
}

func (a *analyzer) name(s scope, kind string, e ast.Expr) {
	for _, n := range a.resolve(s, kind, e) {
		u := a.use(n, e.Pos())
		switch kind {
		case kindSelector:
			a.selectors = append(a.selectors, u)
		case kindClass:
			a.classes = append(a.classes, u)
		case kindNotification:
			a.notifications = append(a.notifications, u)
		case kindFramework:
			a.frameworks = append(a.frameworks, u)
		}
	}
}

// resolve returns the texts e may be. A parameter makes the function a wrapper, whose callers are asked; anything else
// that is not plainly a text is a problem.
func (a *analyzer) resolve(s scope, kind string, e ast.Expr) []string {
	if texts := constants(s.info, e); texts != nil {
		return texts
	}
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		a.problem(e.Pos(), "a %s that cannot be read off the source", kind)
		return nil
	}
	v := s.info.Uses[id]
	if s.fn != nil {
		params := s.fn.Signature().Params()
		for i := range params.Len() {
			if params.At(i) == v {
				if a.wrappers[s.fn] == nil {
					a.wrappers[s.fn] = map[int]string{}
				}
				if a.wrappers[s.fn][i] == "" {
					a.wrappers[s.fn][i] = kind
					a.grown = true
				}
				return nil
			}
		}
	}
	texts, known := assigned(s, v)
	if !known {
		a.problem(e.Pos(), "a %s that cannot be read off the source: %s", kind, id.Name)
	}
	return texts
}

// constants returns the text of a constant expression, nil if e is none.
func constants(info *types.Info, e ast.Expr) []string {
	if v := info.Types[e].Value; v != nil && v.Kind() == constant.String {
		return []string{constant.StringVal(v)}
	}
	return nil
}

// assigned returns the texts that a function gives to its variable v, and whether these are all.
func assigned(s scope, v types.Object) (texts []string, known bool) {
	known = true
	is := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && v != nil && (s.info.Defs[id] == v || s.info.Uses[id] == v)
	}
	add := func(e ast.Expr) {
		c := constants(s.info, e)
		known = known && c != nil
		texts = append(texts, c...)
	}
	ast.Inspect(s.body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, l := range n.Lhs {
				if is(l) && len(n.Rhs) == len(n.Lhs) {
					add(n.Rhs[i])
				} else if is(l) {
					known = false
				}
			}
		case *ast.RangeStmt:
			lit, ok := n.X.(*ast.CompositeLit)
			if key, value := n.Key != nil && is(n.Key), n.Value != nil && is(n.Value); !key && !value {
				return true
			} else if !ok {
				known = false
			} else {
				for _, e := range lit.Elts {
					pair, isPair := e.(*ast.KeyValueExpr)
					switch {
					case isPair && key:
						add(pair.Key)
					case isPair:
						add(pair.Value)
					case value:
						add(e)
					default:
						known = false
					}
				}
			}
		}
		return true
	})
	slices.Sort(texts)
	return slices.Compact(texts), known && len(texts) > 0
}

func isNotificationName(t types.Type) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Name() == "NotificationName" && n.Obj().Pkg().Path() == darwinkit+"/macos/foundation"
}
