package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A darwinkit that is small enough to be read, with the shapes of the real one.
var darwinkitDouble = map[string]string{
	"darwinkit/go.mod": "module github.com/progrium/darwinkit\n\ngo 1.26\n",
	"darwinkit/objc/objc.go": `package objc

import "unsafe"

type Handle interface{ Ptr() unsafe.Pointer }
type IObject interface{ Handle }
type Object struct{ ptr unsafe.Pointer }
type Class struct{ ptr unsafe.Pointer }
type Selector struct{ ptr unsafe.Pointer }
type Void struct{}

func (o Object) Ptr() unsafe.Pointer { return o.ptr }
func (c Class) Ptr() unsafe.Pointer  { return c.ptr }

func Call[T any](o Handle, s Selector, params ...any) (t T) { return t }
func Sel(name string) (s Selector)                          { return s }
func GetClass(name string) (c Class)                        { return c }
func WithAutoreleasePool(f func())                          { f() }
func Retain(o *Object)                                      {}
`,
	"darwinkit/macos/foundation/foundation.go": `package foundation

import "github.com/progrium/darwinkit/objc"

type NotificationName string
type Bundle struct{ objc.Object }
type _BundleClass struct{ objc.Class }

var BundleClass _BundleClass

func (b _BundleClass) BundleWithPath(path string) Bundle {
	return objc.Call[Bundle](b, objc.Sel("bundleWithPath:"), path)
}
func Bundle_BundleWithPath(path string) Bundle { return BundleClass.BundleWithPath(path) }
`,
	"darwinkit/macos/appkit/appkit.go": `package appkit

import "github.com/progrium/darwinkit/objc"

type IAlert interface {
	objc.IObject
	SetTitle(s string)
}
type Alert struct{ objc.Object }
type AlertDelegate struct{}

func (a Alert) SetTitle(s string)        { objc.Call[objc.Void](a, objc.Sel("setTitle:"), s) }
func (a Alert) SetSize(n int)            { objc.Call[objc.Void](a, objc.Sel("setSize:"), n) }
func (a Alert) Busy() bool               { return objc.Call[bool](a, objc.Sel("busy")) }
func (a Alert) Windows() []objc.Object   { return objc.Call[[]objc.Object](a, objc.Sel("windows")) }
func (a Alert) Then(f func())            { objc.Call[objc.Void](a, objc.Sel("then:"), f) }
func (a Alert) OnEachUsingBlock(f func()) {}
func (a Alert) SetDelegate(d any)        {}
`,
	"systray/go.mod":     "module fyne.io/systray\n\ngo 1.26\n",
	"systray/systray.go": "package systray\n\nfunc Run(onReady, onExit func()) {}\n",
	"go.mod": `module example.com/planted

go 1.26

require (
	fyne.io/systray v1.0.0
	github.com/progrium/darwinkit v0.5.0
)

replace (
	fyne.io/systray => ./systray
	github.com/progrium/darwinkit => ./darwinkit
)
`,
}

const planted = `package planted

import (
	"github.com/progrium/darwinkit/macos/appkit"
	"github.com/progrium/darwinkit/macos/foundation"
	"github.com/progrium/darwinkit/objc"
	"fyne.io/systray"
)

var (
	_ = appkit.Alert{}
	_ = systray.Run

	_ foundation.NotificationName
)

func ask(o objc.Handle, selector string, args ...any) bool {
	return objc.Call[uint64](o, objc.Sel(selector), args...)&0xff != 0
}

func class(framework, name string) objc.Class {
	foundation.Bundle_BundleWithPath("/System/Library/Frameworks/" + framework + ".framework")
	return objc.GetClass(name)
}

func observe(name string) { _ = foundation.NotificationName(name) }

func f(o objc.Object, a appkit.Alert, i appkit.IAlert) {
	objc.WithAutoreleasePool(func() {
		BODY
	})
}

func main() { f(objc.Object{}, appkit.Alert{}, nil) }
`

// The table of the planted code: everything of it is used by plantedUse.
const plantedTable = `
types: {NSStyle: NSInteger}
methods:
  - {class: NSAlert, decl: '- (void)setTitle:(NSString *)title', since: "10.0", source: doc, used: [.]}
  - {class: NSAlert, decl: '- (void)setSize:(short)size', since: "10.0", source: doc, used: [.]}
  - {class: NSAlert, decl: '- (BOOL)busy', since: "10.0", source: doc, used: [.]}
  - {class: NSAlert, decl: '- (NSArray *)windows', since: "10.0", source: doc, used: [.]}
  - {class: NSAlert, decl: '- (void)then:(void (^)(void))f', since: "10.0", source: doc, used: [.]}
  - {class: NSBundle, decl: '+ (NSBundle *)bundleWithPath:(NSString *)p', since: "10.0", source: doc, used: [.]}
  - {class: NSBar, decl: '- (NSStyle)style', since: "10.0", source: doc, used: [.]}
  - {class: NSBar, decl: '- (BOOL)set:(NSRect)r for:(nullable id)o error:(NSError **)e', since: "10.0", source: doc, used: [.]}
  - class: NSBar
    decl: '- (void)later:(nullable void (^)(void))f'
    since: "10.0"
    source: doc
    used: [.]
    block: it is one
classes:
  - {name: NSBar, since: "10.0", source: doc, used: [.]}
notifications:
  - {name: NSBarNotification, since: "10.0", source: doc, used: [.]}
frameworks:
  - {name: Bars, since: "10.0", source: doc, used: [.]}
`

// check analyzes the planted code with body in it.
func check(t *testing.T, body, table string) []string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range darwinkitDouble {
		write(name, text)
	}
	write("planted_darwin.go", strings.Replace(planted, "BODY", body, 1))
	write("other_linux.go", "package planted\n\nthis is not for us\n")
	write("table.yaml", table)
	reviewed, err := readTable(filepath.Join(dir, "table.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := analyze(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return reviewed.compare(found)
}

func TestPlantedErrors(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"selector of objc.Call", `objc.Call[int](o, objc.Sel("styel"))`, "styel is not reviewed"},
		{"selector by a wrapper", `ask(o, "isBuzy")`, "isBuzy (by ask) is not reviewed"},
		{"selector in a variable", `s := "busy"; if o.Ptr() == nil { s = "bussy" }; ask(o, s)`, "bussy (by ask) is not reviewed"},
		{"selector that is no text", `ask(o, func() string { return "busy" }())`, "a selector that cannot be read off the source"},
		{"selector of unknown origin", `s, _ := func() (string, int) { return "busy", 1 }(); ask(o, s)`, "read off the source: s"},
		{"selector handed on", `_ = objc.Sel("clicked:")`, `selector "clicked:" is not reviewed`},
		{"class of another", `a.SetTitle("x"); objc.Call[int](a, objc.Sel("style"))`, "NSAlert style is not reviewed"},
		{"class", `objc.GetClass("NSBra")`, `class "NSBra" is not reviewed`},
		{"class by a wrapper", `class("Bars", "NSBra")`, `class "NSBra" is not reviewed`},
		{"framework", `class("Bras", "NSBar")`, `framework "Bras" is not reviewed`},
		{"notification", `_ = foundation.NotificationName("NSBraNotification")`, `notification "NSBraNotification" is not`},
		{"notification from a map", `for n := range map[string]int{"NSBarNotification": 1, "NSX": 2} { observe(n) }`, `"NSX" is not`},
		{"too few arguments", `objc.Call[objc.Void](o, objc.Sel("setTitle:"))`, "0 arguments, and the selector takes 1"},
		{"too many arguments", `ask(o, "busy", 1)`, "1 arguments, and the selector takes 0"},
		{"wrong argument", `objc.Call[objc.Void](o, objc.Sel("setTitle:"), 1)`, "argument 1 is int and declared NSString *"},
		{"int for a short", `objc.Call[objc.Void](o, objc.Sel("setSize:"), 1)`, "argument 1 is int and declared short"},
		{"nil where none may be", `objc.Call[objc.Void](o, objc.Sel("setTitle:"), nil)`, "argument 1 is"},
		{"wrong result", `objc.Call[float64](o, objc.Sel("style"))`, "read as float64 and declared NSStyle"},
		{"bool read in one byte", `objc.Call[bool](o, objc.Sel("busy"))`, "use cocoa.CallBOOL"},
		{"bool by a binding", `a.Busy()`, "busy (by Busy): libffi stores eight bytes"},
		{"slice by a binding", `a.Windows()`, "an empty NSArray is read uninitialised"},
		{"int for a short by a binding", `a.SetSize(1)`, "setSize: (by SetSize): argument 1 is int"},
		{"block", `objc.Call[objc.Void](o, objc.Sel("then:"), func() {})`, "a Go function becomes a block"},
		{"block by a binding", `a.Then(nil)`, "a Go function becomes a block"},
		{
			"second block", `objc.Call[objc.Void](o, objc.Sel("later:"), func() {})
			objc.Call[objc.Void](o, objc.Sel("later:"), nil)
			objc.Call[objc.Void](o, objc.Sel("later:"), func() {})`, "planted_darwin.go:32: a second block for NSBar later:",
		},
		{"block observer", `a.OnEachUsingBlock(nil)`, "use cocoa.Observe"},
		{"delegate", `_ = appkit.AlertDelegate{}`, "delegates are called through libffi closures"},
		{"setting a delegate", `a.SetDelegate(nil)`, "appkit.SetDelegate"},
		{"retain by variable", `objc.Retain(&o)`, "use the method Retain"},
		{"exit of systray", `systray.Run(func() {}, func() {})`, "systray.Quit never calls onExit"},
		{"goroutine without a pool", `go a.SetTitle("x")`, "..main sends messages without an autorelease pool"},
		{"what is not used", ``, "reviewed table: NSBar style is not used"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(check(t, tt.body, plantedTable), "\n")
			if !strings.Contains(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// What is right is not complained about: the same code passes with a table that says the same.
func TestGoodUse(t *testing.T) {
	const body = `a.SetTitle("x"); i.SetTitle("y")
		systray.Run(func() {}, nil)
		bar := objc.Call[objc.Object](class("Bars", "NSBar"), objc.Sel("new"))
		_ = objc.Call[int](bar, objc.Sel("style"))
		_ = ask(bar, "busy")
		for n := range map[string]int{"NSBarNotification": 1} { observe(n) }`
	table := plantedTable
	table = strings.Replace(table, table[strings.Index(table, "  - class: NSBar"):strings.Index(table, "classes:")], "", 1)
	for _, unused := range []string{"setSize", "windows", "then", "set"} {
		var kept []string
		for line := range strings.Lines(table) {
			if !strings.Contains(line, ")"+unused+":") && !strings.Contains(line, ")"+unused+"'") {
				kept = append(kept, line)
			}
		}
		table = strings.Join(kept, "")
	}
	table = strings.Replace(table, "methods:\n", "methods:\n"+
		"  - {class: NSObject, decl: '+ (instancetype)new', since: \"10.0\", source: doc, used: [.]}\n", 1)
	if got := check(t, body, table+"pools: [{func: ..class, why: its callers have one}]\n"); len(got) != 1 ||
		!strings.Contains(got[0], "pools: ..class") { // class is called within a pool, so its excuse is one too many
		t.Errorf("found %q, want the needless excuse alone", got)
	}
	if got := check(t, body, table); len(got) > 0 {
		t.Errorf("found %q", got)
	}
}

func TestTableIsReviewedWell(t *testing.T) {
	row := func(decl, rest string) string {
		return "methods: [{class: NSX, decl: '" + decl + "', " + rest + "}]\n"
	}
	const good = `since: "10.0", source: doc, used: [a]`
	for _, tt := range []struct{ name, text, want string }{
		{"good", row("- (void)a:(int)b c:(void (^)(BOOL ok))d", good), ""},
		{"no version", row("- (void)a", "source: doc, used: [a]"), "no version of macOS"},
		{"too new", row("- (void)a", `since: "14.0", source: doc, used: [a]`), "has no guard"},
		{"too new, guarded", row("- (void)a", `since: "14.0", source: doc, used: [a], guard: asked first`), ""},
		{"no source", row("- (void)a", `since: "10.0", used: [a]`), "none of doc, sdk and memory"},
		{"no place", row("- (void)a", `since: "10.0", source: doc`), "no place where it is used"},
		{"unknown key", row("- (void)a", good+", colour: red"), "colour"},
		{"no result", row("a:(int)b", good), "no result"},
		{"no type", row("- (void)a:b", good), "no type"},
		{"open type", row("- (void)a:(int", good), "no type"},
		{"name after the end", row("- (void)a b:(int)c", good), "something after a name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "table.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := readTable(path)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("readTable = %v, want %q", err, tt.want)
			}
		})
	}
}
