package main

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// compare returns what is wrong with what was found, sorted.
func (t *table) compare(f *findings) []string {
	problems := slices.Clone(f.problems)
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	used := map[*method][]string{}
	blocks := map[*method]string{}
	for _, s := range f.sends {
		m, why := t.match(s)
		if m == nil {
			complain("%s: %s", s.pos, why)
			continue
		}
		used[m] = append(used[m], s.folder)
		if slices.ContainsFunc(s.args, argument.isFunc) {
			if blocks[m] != "" {
				complain("%s: a second block for %s, after %s: one was reviewed", s.pos, m, blocks[m])
			}
			blocks[m] = s.pos
		}
	}
	for _, s := range f.selectors {
		found := false
		for _, m := range t.Methods {
			if m.selector == s.name {
				used[m] = append(used[m], s.folder)
				found = true
			}
		}
		if !found {
			complain("%s: selector %q is not reviewed", s.pos, s.name)
		}
	}
	for _, m := range t.Methods {
		if why := places(m.Used, used[m]); why != "" {
			complain("reviewed table: %s %s", m, why)
		}
	}
	for _, list := range []struct {
		kind     string
		reviewed []name
		found    []use
	}{
		{"class", t.Classes, f.classes},
		{"notification", t.Notifications, f.notifications},
		{"framework", t.Frameworks, f.frameworks},
	} {
		byName := map[string][]string{}
		for _, u := range list.found {
			byName[u.name] = append(byName[u.name], u.folder)
			if !slices.ContainsFunc(list.reviewed, func(n name) bool { return n.Name == u.name }) {
				complain("%s: %s %q is not reviewed", u.pos, list.kind, u.name)
			}
		}
		for _, n := range list.reviewed {
			if why := places(n.Used, byName[n.Name]); why != "" {
				complain("reviewed table: %s %s %s", list.kind, n.Name, why)
			}
		}
	}
	for _, u := range f.unpooled {
		if !slices.ContainsFunc(t.Pools, func(p pool) bool { return p.Func == u.name }) {
			complain("%s: %s sends messages without an autorelease pool", u.pos, u.name)
		}
	}
	for _, p := range t.Pools {
		if !slices.ContainsFunc(f.unpooled, func(u use) bool { return p.Func == u.name }) {
			complain("reviewed table: pools: %s is no such function, or needs no excuse", p.Func)
		}
	}
	for _, u := range f.withC {
		if !slices.ContainsFunc(t.C, func(c withC) bool { return c.Package == u.name && c.Why != "" }) {
			complain("%s: %s has C in it, where selectors are out of sight", u.pos, u.name)
		}
	}
	for _, c := range t.C {
		if !slices.ContainsFunc(f.withC, func(u use) bool { return u.name == c.Package }) {
			complain("reviewed table: c: %s has none", c.Package)
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// places compares the folders a row names with those found.
func places(reviewed, found []string) string {
	if len(found) == 0 {
		return "is not used"
	}
	for _, f := range found {
		if !slices.Contains(reviewed, f) {
			return "is also used in " + f
		}
	}
	for _, r := range reviewed {
		if !slices.Contains(found, r) {
			return "is not used in " + r
		}
	}
	return ""
}

// match returns the row a message conforms to, or why there is none.
func (t *table) match(s send) (*method, string) {
	what := s.name
	if s.class != "" {
		what = s.class + " " + s.name
	}
	if s.via != "" {
		what += " (by " + s.via + ")"
	}
	why := fmt.Sprintf("%s is not reviewed", what)
	for _, m := range t.Methods {
		if m.selector != s.name || s.class != "" && s.class != m.Class {
			continue
		}
		problem := t.conforms(m, s)
		if problem == "" {
			return m, ""
		}
		why = fmt.Sprintf("%s: %s", what, problem)
	}
	return nil, why
}

// conforms returns how a message differs from its declaration, "" if it does not.
func (t *table) conforms(m *method, s send) string {
	if s.result == nil {
		return "the result's type cannot be read off the source"
	}
	if why := resultRule(s.result); why != "" {
		return why
	}
	if len(s.args) != len(m.params) {
		return fmt.Sprintf("%d arguments, and the selector takes %d", len(s.args), len(m.params))
	}
	if !t.result(m.result, s.result) {
		return fmt.Sprintf("the result is read as %s and declared %s", short(s.result), m.result)
	}
	for i, a := range s.args {
		switch {
		case a.isFunc() && m.Block == "":
			return "a Go function becomes a block, which is called through a libffi closure"
		case a.isFunc() && s.via != "":
			return "a block is made of a Go function even if that is nil: use objc.Call"
		}
		if !t.argument(m.params[i], a) && m.Accept == "" {
			return fmt.Sprintf("argument %d is %s and declared %s", i+1, short(a.typ), m.params[i])
		}
	}
	return ""
}

func (a argument) isFunc() bool {
	_, is := a.typ.Underlying().(*types.Signature)
	return is
}

func short(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string { return p.Name() })
}

// base returns what a type of a declaration stands for, and whether it may be nil.
func (t *table) base(decl string) (kind string, nullable bool) {
	decl = strings.TrimSpace(decl)
	if rest, ok := strings.CutPrefix(decl, "nullable "); ok {
		decl, nullable = rest, true
	}
	for t.Types[decl] != "" {
		decl = t.Types[decl]
	}
	switch {
	case strings.Contains(decl, "^"):
		return "block", nullable
	case strings.HasSuffix(decl, "**"):
		return "pointer", true
	case strings.HasSuffix(decl, "*"), decl == "id", strings.HasPrefix(decl, "id<"), decl == "Class", decl == "instancetype":
		return "object", nullable
	}
	return decl, nullable
}

// result says whether a result declared so can be read as t.
func (t *table) result(declared string, got types.Type) bool {
	kind, _ := t.base(declared)
	switch kind {
	case "void":
		return isNamed(got, "Void")
	case "BOOL":
		return isBasic(got, types.Uint64) // masked; a bool is refused by resultRule
	default:
		return t.argument(declared, argument{typ: got})
	}
}

// argument says whether a Go value can be what is declared so: the sizes and registers must be the same.
func (t *table) argument(declared string, a argument) bool {
	kind, nullable := t.base(declared)
	if a.nil {
		return nullable
	}
	switch kind {
	case "object":
		_, isSlice := a.typ.Underlying().(*types.Slice)
		return isObject(a.typ) || isSlice && strings.Contains(declared, "NSArray") || isText(a.typ)
	case "block":
		return a.isFunc()
	case "pointer":
		return isBasic(a.typ, types.UnsafePointer)
	case "SEL":
		return isNamed(a.typ, "Selector")
	case "BOOL":
		return isBasic(a.typ, types.Bool)
	case "NSInteger", "NSUInteger":
		return isBasic(a.typ, types.Int, types.Uint, types.Int64, types.Uint64)
	case "int":
		return isBasic(a.typ, types.Int32)
	case "short":
		return isBasic(a.typ, types.Int16)
	case "double":
		return isBasic(a.typ, types.Float64)
	case "NSRect", "NSPoint", "NSSize":
		return isNamed(a.typ, strings.TrimPrefix(kind, "NS"))
	}
	return false
}

func isNamed(t types.Type, name string) bool {
	n, ok := types.Unalias(t).(*types.Named)
	return ok && n.Obj().Name() == name && n.Obj().Pkg() != nil && strings.HasPrefix(n.Obj().Pkg().Path(), darwinkit)
}

func isBasic(t types.Type, kinds ...types.BasicKind) bool {
	b, ok := t.Underlying().(*types.Basic)
	if !ok {
		return false
	}
	kind := b.Kind()
	switch kind { // of constants
	case types.UntypedInt:
		kind = types.Int
	case types.UntypedFloat:
		kind = types.Float64
	case types.UntypedBool:
		kind = types.Bool
	}
	return slices.Contains(kinds, kind)
}

func isText(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

// isObject says whether darwinkit takes t for a pointer to an object.
func isObject(t types.Type) bool {
	m, _, _ := types.LookupFieldOrMethod(t, true, nil, "Ptr")
	return m != nil
}
