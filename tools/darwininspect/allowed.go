package main

// allowedLibraries are what the program may ask the dynamic linker for, and who needs it. All are part of macOS 13.
var allowedLibraries = map[string]string{
	"/usr/lib/libSystem.B.dylib":             "Go",
	"/usr/lib/libresolv.9.dylib":             "Go's resolver",
	"/usr/lib/libobjc.A.dylib":               "darwinkit and systray",
	"/usr/lib/libffi.dylib":                  "darwinkit",
	framework("AppKit", "C"):                 "darwinkit",
	framework("Foundation", "C"):             "darwinkit and systray",
	framework("Cocoa", "A"):                  "systray",
	framework("Security", "A"):               "Go's crypto/x509",
	framework("CloudKit", "A"):               "darwinkit's appkit",
	framework("CoreData", "A"):               "darwinkit's appkit",
	framework("CoreGraphics", "A"):           "darwinkit's appkit",
	framework("CoreImage", "A"):              "darwinkit's appkit",
	framework("CoreML", "A"):                 "darwinkit's coreimage",
	framework("CoreMedia", "A"):              "darwinkit's foundation",
	framework("CoreVideo", "A"):              "darwinkit's coreimage",
	framework("IOSurface", "A"):              "darwinkit's coreimage",
	framework("ImageIO", "A"):                "darwinkit's coreimage",
	framework("Metal", "A"):                  "darwinkit's coreimage",
	framework("QuartzCore", "A"):             "darwinkit's appkit",
	framework("CoreFoundation", "A"):         "Go and darwinkit",
	framework("UniformTypeIdentifiers", "A"): "darwinkit's appkit",
	framework("UserNotifications", "A"):      "CALMenu's notifications",
}

func framework(name, version string) string {
	return "/System/Library/Frameworks/" + name + ".framework/Versions/" + version + "/" + name
}

// allowedClasses are the Objective-C classes that the program may define, and whose they are. Names of classes are one
// space for the whole process: a class of macOS' own of the same name would replace one of these, or be replaced.
var allowedClasses = map[string]string{
	"ActionHandler":      "darwinkit's helper/action",
	"DeallocListener":    "darwinkit's objc",
	"ProtocolImplBase":   "darwinkit's objc",
	"CALMenuNotes":       "CALMenu's internal/desktop/cocoa",
	"MenuItem":           "systray",
	"RightClickDetector": "systray",
	"SystrayAppDelegate": "systray",
}
