package cocoa

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// reviewed lists every selector, class and notification that is a string to Go, with its declaration in Apple's
// documentation: no compiler would notice a misspelt one. One that is added here must have been looked up there.
var reviewed = map[string]string{
	// Selectors.
	"performSelectorOnMainThread:withObject:waitUntilDone:": "NSObject: (void), SEL, id, BOOL",
	"load":                      "NSBundle: (BOOL)",
	"setActivationPolicy:":      "NSApplication: (BOOL), NSApplicationActivationPolicy (NSInteger)",
	"currentNotificationCenter": "UNUserNotificationCenter: + (UNUserNotificationCenter *)",
	"requestAuthorizationWithOptions:completionHandler:": "UNUserNotificationCenter: (void), UNAuthorizationOptions " +
		"(NSUInteger), void (^)(BOOL, NSError *)",
	"addNotificationRequest:withCompletionHandler:": "UNUserNotificationCenter: (void), UNNotificationRequest *, " +
		"nullable void (^)(NSError *)",
	"new":       "NSObject: + (instancetype), retained",
	"setTitle:": "UNMutableNotificationContent: (void), NSString *",
	"setBody:":  "UNMutableNotificationContent: (void), NSString *",
	"requestWithIdentifier:content:trigger:": "UNNotificationRequest: + (instancetype), NSString *, UNNotificationContent *, " +
		"nullable UNNotificationTrigger *",
	"mainAppService":            "SMAppService: + (SMAppService *), macOS 13",
	"status":                    "SMAppService: (SMAppServiceStatus, NSInteger)",
	"registerAndReturnError:":   "SMAppService: (BOOL), NSError **",
	"unregisterAndReturnError:": "SMAppService: (BOOL), NSError **",
	// Classes and their frameworks.
	"UserNotifications":            "framework, macOS 10.14",
	"UNUserNotificationCenter":     "UserNotifications",
	"UNMutableNotificationContent": "UserNotifications",
	"UNNotificationRequest":        "UserNotifications",
	"ServiceManagement":            "framework",
	"SMAppService":                 "ServiceManagement, macOS 13",
	// Notifications.
	"NSApplicationDidFinishLaunchingNotification": "NSApplication, default centre",
	"NSApplicationWillTerminateNotification":      "NSApplication, default centre",
	"NSWorkspaceWillSleepNotification":            "NSWorkspace, its own centre",
	"NSWorkspaceDidWakeNotification":              "NSWorkspace, its own centre",

	"NSWorkspaceSessionDidBecomeActiveNotification": "NSWorkspace, its own centre",
	"NSWorkspaceSessionDidResignActiveNotification": "NSWorkspace, its own centre",
}

// native are the folders in which Cocoa is called (the linter keeps it out of all others but internal/statusicon, which
// calls it through systray alone).
var native = []string{".", "..", "../../../app/shell"}

func nativeFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, dir := range native {
		found, err := filepath.Glob(filepath.Join(dir, "*_darwin.go"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

func TestEveryStringToCocoaIsReviewed(t *testing.T) {
	used := map[string]token.Position{}
	for _, file := range nativeFiles(t) {
		maps.Copy(used, stringsToCocoa(t, file))
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if reviewed[name] == "" {
			t.Errorf("%s: %q is not reviewed", used[name], name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(reviewed)) {
		if _, ok := used[name]; !ok {
			t.Errorf("%q is reviewed but not used", name)
		}
	}
}

// Callbacks by libffi closures are where darwinkit and Go disagree, so a func handed to objc.Call is counted: there is
// one, whose completion handler macOS insists on. Delegates and block observers would be others.
func TestOneBlockOnly(t *testing.T) {
	blocks := 0
	for _, path := range nativeFiles(t) {
		ast.Inspect(parse(t, token.NewFileSet(), path), func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := callee(call)
			for _, arg := range call.Args {
				if _, isFunc := arg.(*ast.FuncLit); isFunc && name == "objc.Call" {
					blocks++
				}
			}
			for _, forbidden := range []string{"UsingBlock", "SetDelegate", "DispatchSync", "DispatchAsync", "RunApp"} {
				if strings.HasSuffix(name, forbidden) {
					t.Errorf("%s calls %s", path, name)
				}
			}
			return true
		})
	}
	if blocks != 1 {
		t.Errorf("%d blocks are made, want the one for permission to notify", blocks)
	}
}

func parse(t *testing.T, fset *token.FileSet, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// callee names what is called as the source does, without type arguments.
func callee(call *ast.CallExpr) string {
	fun := call.Fun
	if index, ok := fun.(*ast.IndexExpr); ok {
		fun = index.X
	}
	switch f := fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
		return "." + f.Sel.Name
	}
	return ""
}

// stringsToCocoa returns the string literals of a file that name something of Cocoa's: those handed to the functions
// that take such names, and those that look like a selector or a notification wherever they stand.
func stringsToCocoa(t *testing.T, path string) map[string]token.Position {
	t.Helper()
	fset := token.NewFileSet()
	found := map[string]token.Position{}
	literal := func(e ast.Expr) (string, bool) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(lit.Value)
		return s, err == nil
	}
	ast.Inspect(parse(t, fset, path), func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := callee(n)
			switch {
			case name == "objc.Sel", name == "objc.GetClass", strings.HasSuffix(name, "CallBOOL"), name == "cocoa.Class",
				strings.HasSuffix(name, "Observe"):
				for _, arg := range n.Args {
					if s, ok := literal(arg); ok {
						found[s] = fset.Position(arg.Pos())
					}
				}
			}
		case *ast.BasicLit:
			if s, ok := literal(n); ok && !strings.ContainsAny(s, " /%") &&
				(len(s) > 1 && strings.HasSuffix(s, ":") || strings.HasPrefix(s, "NS") && strings.HasSuffix(s, "Notification")) {
				found[s] = fset.Position(n.Pos())
			}
		}
		return true
	})
	return found
}
