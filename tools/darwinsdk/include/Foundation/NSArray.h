/* What is used of Foundation/NSArray.h, declared by hand. */
#ifndef CALMENU_FOUNDATION_NSARRAY_H
#define CALMENU_FOUNDATION_NSARRAY_H

#include <Foundation/NSObject.h>

@interface NSArray : NSObject
@property(readonly) NSUInteger count;
- (id)objectAtIndex:(NSUInteger)i;
- (id)objectAtIndexedSubscript:(NSUInteger)i;
+ (instancetype)arrayWithObjects:(const id[])o count:(NSUInteger)n;
@end

@interface NSMutableArray : NSArray
+ (instancetype)arrayWithCapacity:(NSUInteger)n;
- (void)addObject:(id)o;
@end

#endif
