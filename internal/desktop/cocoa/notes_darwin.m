//go:build cgo

// Notifications by UNUserNotificationCenter. Its delegate and its blocks are the compiler's own, which call exported Go
// functions through plain C: nothing here passes through libffi. Nothing waits, and nothing here holds up the caller.

#import <UserNotifications/UserNotifications.h>

#include "_cgo_export.h"
#include "notes_darwin.h"

@interface CALMenuNotes : NSObject <UNUserNotificationCenterDelegate>
@end

@implementation CALMenuNotes

// Without this, macOS keeps back what a program posts while it is in front, as it is while an alert is open.
- (void)userNotificationCenter:(UNUserNotificationCenter *)center
       willPresentNotification:(UNNotification *)notification
         withCompletionHandler:(void (^)(UNNotificationPresentationOptions options))completionHandler {
  completionHandler(UNNotificationPresentationOptionBanner | UNNotificationPresentationOptionList |
                    UNNotificationPresentationOptionSound);
}

- (void)userNotificationCenter:(UNUserNotificationCenter *)center
    didReceiveNotificationResponse:(UNNotificationResponse *)response
             withCompletionHandler:(void (^)(void))completionHandler {
  NSString *action = response.actionIdentifier;
  if ([action isEqualToString:UNNotificationDefaultActionIdentifier]) {
    action = @"default";
  }
  calmenuNotesClicked((char *)response.notification.request.identifier.UTF8String, (char *)action.UTF8String);
  completionHandler();
}

@end

// The centre does not retain its delegate, so this is kept.
static CALMenuNotes *delegate;
// Touched by one goroutine at a time.
static NSMutableSet *categories;

void calmenu_notes_listen(void) {
  @autoreleasepool {
    if (delegate == nil) {
      delegate = [[CALMenuNotes alloc] init];
      [UNUserNotificationCenter currentNotificationCenter].delegate = delegate;
    }
  }
}

void calmenu_notes_authorize(uintptr_t request) {
  @autoreleasepool {
    [[UNUserNotificationCenter currentNotificationCenter]
        requestAuthorizationWithOptions:UNAuthorizationOptionAlert | UNAuthorizationOptionSound
                      completionHandler:^(BOOL granted, NSError *error) {
                        const char *problem = "";
                        if (error != nil && error.localizedDescription.UTF8String != NULL) {
                          problem = error.localizedDescription.UTF8String;
                        }
                        calmenuNotesAnswered(request, granted ? 1 : 0, (char *)problem);
                      }];
  }
}

void calmenu_notes_settings(uintptr_t request) {
  @autoreleasepool {
    [[UNUserNotificationCenter currentNotificationCenter]
        getNotificationSettingsWithCompletionHandler:^(UNNotificationSettings *settings) {
          calmenuNotesSettings(request, (int)settings.authorizationStatus);
        }];
  }
}

static NSString *text(const char *utf8) {
  NSString *s = [NSString stringWithUTF8String:utf8];
  return s == nil ? @"" : s; // nil for what is no UTF-8; the caller has seen to that
}

void calmenu_notes_categories_clear(void) {
  @autoreleasepool {
    if (categories == nil) {
      categories = [[NSMutableSet alloc] init];
    }
    [categories removeAllObjects];
  }
}

void calmenu_notes_category(const char *name, const char *labels) {
  @autoreleasepool {
    NSArray *titles = [text(labels) componentsSeparatedByString:@"\n"];
    NSMutableArray *actions = [NSMutableArray arrayWithCapacity:titles.count];
    for (NSUInteger i = 0; i < titles.count; i++) {
      char key[2] = {(char)('0' + i), 0};
      // In front: revealing a file and opening a window are what the person asks for.
      [actions addObject:[UNNotificationAction actionWithIdentifier:text(key)
                                                              title:[titles objectAtIndex:i]
                                                            options:UNNotificationActionOptionForeground]];
    }
    [categories addObject:[UNNotificationCategory categoryWithIdentifier:text(name)
                                                                 actions:actions
                                                       intentIdentifiers:[NSMutableArray arrayWithCapacity:0]
                                                                 options:UNNotificationCategoryOptionNone]];
  }
}

void calmenu_notes_categories_commit(void) {
  @autoreleasepool {
    [[UNUserNotificationCenter currentNotificationCenter] setNotificationCategories:categories];
  }
}

void calmenu_notes_post(const char *identifier, const char *title, const char *body, const char *category) {
  @autoreleasepool {
    UNMutableNotificationContent *content = [[[UNMutableNotificationContent alloc] init] autorelease];
    content.title = text(title);
    content.body = text(body);
    content.categoryIdentifier = text(category);
    UNNotificationRequest *request = [UNNotificationRequest requestWithIdentifier:text(identifier)
                                                                          content:content
                                                                          trigger:nil];
    [[UNUserNotificationCenter currentNotificationCenter] addNotificationRequest:request withCompletionHandler:nil];
  }
}

void calmenu_notes_withdraw(const char *identifier) {
  @autoreleasepool {
    [[UNUserNotificationCenter currentNotificationCenter]
        removeDeliveredNotificationsWithIdentifiers:@[ text(identifier) ]];
  }
}
