/* What is used of AppKit/AppKit.h, declared by hand. */
#ifndef CALMENU_APPKIT_APPKIT_H
#define CALMENU_APPKIT_APPKIT_H

#include <Foundation/Foundation.h>

@class NSMenu, NSMenuItem, NSImage, NSWindow, NSEvent, NSStatusItem, NSStatusBarButton, NSNotification;

/* The protocols that Objective-C sources name in their own declarations; all others are empty (protocols.go). */
@protocol NSApplicationDelegate <NSObject>
@optional
- (void)applicationDidFinishLaunching:(NSNotification *)n;
- (void)applicationWillTerminate:(NSNotification *)n;
@end

@protocol NSMenuDelegate <NSObject>
@optional
- (void)menuWillOpen:(NSMenu *)m;
- (void)menuDidClose:(NSMenu *)m;
@end

#include "AppKit/stub_protocols.h"

extern const double NSAppKitVersionNumber;
extern NSNotificationName const NSApplicationDidFinishLaunchingNotification;
enum { NSControlStateValueOff = 0, NSControlStateValueOn = 1 };
typedef NSInteger NSControlStateValue;
#define NSVariableStatusItemLength (-1.0)
typedef NSUInteger NSEventMask;
typedef NSUInteger NSEventType;
typedef NSUInteger NSEventModifierFlags;
typedef NSUInteger NSStatusItemBehavior;
typedef NSUInteger NSAutoresizingMaskOptions;
typedef NSUInteger NSCellImagePosition;
enum { NSEventTypeLeftMouseDown = 1, NSEventTypeRightMouseDown = 3, NSEventTypeApplicationDefined = 15 };
enum { NSEventModifierFlagCommand = 1 << 20 };
enum { NSViewWidthSizable = 2, NSViewHeightSizable = 16 };
enum { NSStatusItemBehaviorRemovalAllowed = 2 };
enum { NSNoImage = 0, NSImageOnly = 1, NSImageLeft = 2 };

@interface NSResponder : NSObject
@end

@interface NSView : NSResponder
- (instancetype)initWithFrame:(NSRect)r;
- (void)addSubview:(NSView *)v;
@property NSRect frame;
@property BOOL autoresizesSubviews;
@property NSAutoresizingMaskOptions autoresizingMask;
@property(copy) NSString *toolTip;
@property(readonly, assign) NSWindow *window;
@end

@interface NSControl : NSView
@property SEL action;
@property(weak) id target;
- (void)performClick:(id)s;
@end

@interface NSButton : NSControl
@property(copy) NSString *title;
@property(strong) NSImage *image;
@property NSCellImagePosition imagePosition;
@end

@interface NSStatusBarButton : NSButton
@end

@interface NSWindow : NSResponder
@end

@interface NSImage : NSObject
- (instancetype)initWithData:(NSData *)d;
@property NSSize size;
@property(getter=isTemplate) BOOL template;
@end

@interface NSEvent : NSObject
@property(readonly, assign) NSWindow *window;
@property(readonly) NSEventModifierFlags modifierFlags;
+ (id)addLocalMonitorForEventsMatchingMask:(NSEventMask)m handler:(NSEvent * (^)(NSEvent *))h;
+ (NSEvent *)otherEventWithType:(NSEventType)t
                       location:(NSPoint)p
                  modifierFlags:(NSEventModifierFlags)f
                      timestamp:(NSTimeInterval)ts
                   windowNumber:(NSInteger)w
                        context:(id)c
                        subtype:(short)s
                          data1:(NSInteger)a
                          data2:(NSInteger)b;
@end

@interface NSMenu : NSObject
@property(weak) id<NSMenuDelegate> delegate;
@property BOOL autoenablesItems;
@property(readonly, copy) NSArray *itemArray;
- (NSMenuItem *)addItemWithTitle:(NSString *)t action:(SEL)a keyEquivalent:(NSString *)k;
- (void)addItem:(NSMenuItem *)i;
- (void)removeItem:(NSMenuItem *)i;
- (void)removeAllItems;
- (NSMenuItem *)itemWithTag:(NSInteger)t;
@end

@interface NSMenuItem : NSObject
+ (NSMenuItem *)separatorItem;
@property(copy) NSString *title, *toolTip;
@property NSInteger tag;
@property(weak) id target;
@property(strong) id representedObject;
@property(getter=isEnabled) BOOL enabled;
@property(getter=isHidden) BOOL hidden;
@property NSControlStateValue state;
@property(strong) NSImage *image;
@property(strong) NSMenu *submenu;
@property(readonly) BOOL hasSubmenu;
@property(assign) NSMenu *menu;
@end

@interface NSStatusBar : NSObject
+ (NSStatusBar *)systemStatusBar;
- (NSStatusItem *)statusItemWithLength:(CGFloat)l;
@end

@interface NSStatusItem : NSObject
@property(readonly, strong) NSStatusBarButton *button;
@property(strong) NSMenu *menu;
@property(getter=isVisible) BOOL visible;
@property NSStatusItemBehavior behavior;
@end

@interface NSApplication : NSResponder
+ (NSApplication *)sharedApplication;
@property(weak) id<NSApplicationDelegate> delegate;
- (void)run;
- (void)stop:(id)s;
- (void)postEvent:(NSEvent *)e atStart:(BOOL)b;
@end

extern __kindof NSApplication *NSApp;

#endif
