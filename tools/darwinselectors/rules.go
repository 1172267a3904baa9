package main

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// forbidden are functions of darwinkit's that its version 0.5.0 or AppKit make traps of, by package and name.
var forbidden = map[string]string{
	"macos.RunApp":             "its delegate is called through libffi closures, and the status item's button needs systray's",
	"appkit.SetDelegate":       "delegates are called through libffi closures, and systray's owns the status item's button",
	"appkit.Run":               "systray runs the loop",
	"appkit.Terminate":         "it exits the process without Go's deferred functions",
	"dispatch.DispatchSync":    "it deadlocks on the main thread",
	"dispatch.DispatchAsync":   "a dialog in the block holds up the main queue: use cocoa.OnMain",
	"objc.Retain":              "its release runs on the finalizer's goroutine: use the method Retain",
	"objc.AddMethod":           "it makes a libffi closure",
	"objc.ReplaceMethod":       "it makes a libffi closure",
	"objc.AddClassMethod":      "it makes a libffi closure",
	"objc.ReplaceClassMethod":  "it makes a libffi closure",
	"objc.NewClass":            "its methods are libffi closures",
	"objc.CreateMallocBlock":   "a block's descriptor is read after it was freed",
	"objc.CreateGlobalBlock":   "it makes a libffi closure",
	"objc.WrapAsProtocol":      "protocols are called through libffi closures",
	"objc.SetAssociatedObject": "what is associated lives as long as the other object, out of sight",
}

// functionRule holds a use of a function against the traps.
func (a *analyzer) functionRule(n *ast.Ident, fn *types.Func) {
	if fn.Pkg() == nil || !strings.HasPrefix(fn.Pkg().Path(), darwinkit) {
		return
	}
	// The method of that name sends retain, at once and to the object itself.
	method := fn.Name() == "Retain" && fn.Signature().Recv() != nil
	if why := forbidden[fn.Pkg().Name()+"."+fn.Name()]; why != "" && !method {
		a.problem(n.Pos(), "%s.%s: %s", fn.Pkg().Name(), fn.Name(), why)
	}
	if strings.HasSuffix(fn.Name(), "UsingBlock") {
		a.problem(n.Pos(), "%s: a block is called through a libffi closure: use cocoa.Observe", fn.Name())
	}
}

// typeRule holds a use of a type against the traps.
func (a *analyzer) typeRule(n *ast.Ident, t *types.TypeName) {
	if t.Pkg() != nil && strings.HasPrefix(t.Pkg().Path(), darwinkit+"/macos") && strings.HasSuffix(t.Name(), "Delegate") {
		a.problem(n.Pos(), "%s: delegates are called through libffi closures", t.Name())
	}
}

// callRule holds a call against systray's traps.
func (a *analyzer) callRule(s scope, c *ast.CallExpr, fn *types.Func) {
	if named(fn, systray, "Run", "RunWithExternalLoop") && !s.info.Types[c.Args[1]].IsNil() {
		a.problem(c.Pos(), "systray.%s: systray.Quit never calls onExit on macOS: clean up after it returns", fn.Name())
	}
}

// resultRule returns what is wrong with reading a message's result as t, "" if nothing.
func resultRule(t types.Type) string {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Kind() == types.Bool {
			return "libffi stores eight bytes in a bool of one: use cocoa.CallBOOL"
		}
	case *types.Slice:
		return "an empty NSArray is read uninitialised: take foundation.Array"
	case *types.Map:
		return "an empty NSDictionary is read uninitialised: take foundation.Dictionary"
	}
	return ""
}

// pools finds the functions that send messages without a pool, and which nothing in own code calls: goroutines have no
// pool of their own, so each of these must say why it needs none.
func (a *analyzer) pools() {
	needs := map[*types.Func]string{}
	for changed := true; changed; {
		changed = false
		for fn, calls := range a.calls {
			if needs[fn] != "" {
				continue
			}
			i := slices.IndexFunc(calls, func(c call) bool {
				return !c.pooled && (c.callee == nil || needs[c.callee] != "")
			})
			if i >= 0 {
				needs[fn], changed = calls[i].pos, true
			}
		}
	}
	for fn, pos := range needs {
		if a.called[fn] {
			continue
		}
		u := a.use("", a.decls[fn].decl.Pos())
		u.pos = pos
		u.name = u.folder + "." + fn.Name()
		if recv := fn.Signature().Recv(); recv != nil {
			t := recv.Type()
			if p, ok := t.(*types.Pointer); ok {
				t = p.Elem()
			}
			u.name = u.folder + "." + t.(*types.Named).Obj().Name() + "." + fn.Name()
		}
		a.unpooled = append(a.unpooled, u)
	}
}
