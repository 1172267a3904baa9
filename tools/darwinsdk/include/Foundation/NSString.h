/* What is used of Foundation/NSString.h, declared by hand. */
#ifndef CALMENU_FOUNDATION_NSSTRING_H
#define CALMENU_FOUNDATION_NSSTRING_H

#include <Foundation/NSObject.h>

enum { NSUTF8StringEncoding = 4 };

@class NSArray;

@interface NSString : NSObject <NSCopying>
@property(readonly) NSUInteger length;
@property(readonly) const char *UTF8String;
- (BOOL)isEqualToString:(NSString *)s;
- (NSArray *)componentsSeparatedByString:(NSString *)s;
+ (instancetype)stringWithUTF8String:(const char *)s;
- (instancetype)initWithCString:(const char *)s encoding:(NSStringEncoding)e;
@end

@interface NSSimpleCString : NSString
@end

@interface NSConstantString : NSSimpleCString
@end

#endif
