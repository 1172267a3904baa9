/* What is used of Foundation/Foundation.h, declared by hand. */
#ifndef CALMENU_FOUNDATION_FOUNDATION_H
#define CALMENU_FOUNDATION_FOUNDATION_H

#include <stdlib.h>
#include <dispatch/dispatch.h>
#include <Foundation/NSObject.h>
#include <Foundation/NSString.h>
#include <Foundation/NSData.h>
#include <Foundation/NSArray.h>
#include <Foundation/NSDictionary.h>

double floor(double);

@interface NSNumber : NSObject
+ (NSNumber *)numberWithInt:(int)i;
@property(readonly) int intValue;
@property(readonly) NSInteger integerValue;
@end

@interface NSSet : NSObject
@end

@interface NSMutableSet : NSSet
- (void)addObject:(id)o;
- (void)removeAllObjects;
@end

@interface NSError : NSObject
@property(readonly) NSString *localizedDescription;
@end

@interface NSCondition : NSObject
@end

typedef NSString *NSNotificationName;

@interface NSNotification : NSObject
+ (instancetype)notificationWithName:(NSNotificationName)n object:(id)o;
@end

static inline NSPoint NSMakePoint(CGFloat x, CGFloat y) {
  NSPoint p = {x, y};
  return p;
}
static inline NSSize NSMakeSize(CGFloat w, CGFloat h) {
  NSSize s = {w, h};
  return s;
}
#include "Foundation/stub_protocols.h"

#endif
