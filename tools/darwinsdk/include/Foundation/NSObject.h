/* What is used of Foundation/NSObject.h, declared by hand. */
#ifndef CALMENU_FOUNDATION_NSOBJECT_H
#define CALMENU_FOUNDATION_NSOBJECT_H

#include <objc/NSObject.h>
#include <CoreGraphics/CoreGraphics.h>

#define __MAC_OS_X_VERSION_MIN_REQUIRED 130000
#define IBAction void
#define IBOutlet
#define FALSE 0
#define TRUE 1
typedef CGPoint NSPoint;
typedef CGSize NSSize;
typedef CGRect NSRect;
typedef double NSTimeInterval;
typedef NSUInteger NSStringEncoding;
typedef uint8_t Byte;
@class NSDictionary, NSArray;
typedef struct {
  unsigned long state;
  id __unsafe_unretained *itemsPtr;
  unsigned long *mutationsPtr;
  unsigned long extra[5];
} NSFastEnumerationState;

@protocol NSCopying
- (id)copyWithZone:(void *)z;
@end

@protocol NSMutableCopying
- (id)mutableCopyWithZone:(void *)z;
@end

@protocol NSFastEnumeration
- (NSUInteger)countByEnumeratingWithState:(NSFastEnumerationState *)s
                                  objects:(id __unsafe_unretained[])b
                                    count:(NSUInteger)n;
@end

@interface NSObject (Threads)
- (void)performSelectorOnMainThread:(SEL)s withObject:(id)o waitUntilDone:(BOOL)w;
@end

#endif
