/* What is used of Foundation/NSData.h, declared by hand. */
#ifndef CALMENU_FOUNDATION_NSDATA_H
#define CALMENU_FOUNDATION_NSDATA_H

#include <Foundation/NSObject.h>

@interface NSData : NSObject
@property(readonly) NSUInteger length;
@property(readonly) const void *bytes;
+ (instancetype)data;
+ (instancetype)dataWithBytes:(const void *)b length:(NSUInteger)n;
@end

#endif
